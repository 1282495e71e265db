// The relay under test: a folder of its own with configuration and spool, `tidegate run` in a process group of its own,
// and the commands that a person would type beside it.

import { spawn } from 'node:child_process'
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'

import { toLua } from './lua.mjs'
import { anchorPort, holdPort } from './port.mjs'
import { Never, SLOWNESS, until } from './wait.mjs'

const HERE = dirname(fileURLToPath(import.meta.url))
export const TIDEGATE = resolve(process.env.TIDEGATE ?? join(HERE, '../../../build/tidegate'))
export const WRITE_KEY = 'e2e-write-key'

const COMMAND_SECONDS = 30

// Environment of the relay: nothing of the tester's but the search path, so that what a test says is all there is.
function environment(more) {
  const { PATH, HOME, ASAN_OPTIONS, UBSAN_OPTIONS, LSAN_OPTIONS } = process.env
  return { PATH, HOME, ASAN_OPTIONS, UBSAN_OPTIONS, LSAN_OPTIONS, ...more }
}

// Processes of a group that still run. Those that only wait to be reaped hold nothing any more.
function running(group) {
  const found = []
  for (const pid of readdirSync('/proc').filter((name) => /^\d+$/.test(name))) {
    try {
      const stat = readFileSync(`/proc/${pid}/stat`, 'latin1')
      const [state, , pgrp] = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
      if (Number(pgrp) === group && !'ZX'.includes(state)) found.push(Number(pid))
    } catch { /* it has just ended */ }
  }
  return found
}

// Runs one command to its end: {code, signal, stdout, stderr}.
export function command(args, { cwd, env, input, seconds = COMMAND_SECONDS } = {}) {
  return new Promise((done, fail) => {
    const child = spawn(TIDEGATE, args, { cwd, env: environment(env), stdio: 'pipe' })
    const out = { stdout: '', stderr: '' }
    const timer = setTimeout(() => {
      child.kill('SIGKILL')
      fail(new Error(`tidegate ${args.join(' ')}: no end after ${seconds * SLOWNESS} s\n${out.stdout}${out.stderr}`))
    }, seconds * 1000 * SLOWNESS)
    for (const name of ['stdout', 'stderr']) {
      child[name].setEncoding('utf8')
      child[name].on('data', (text) => { out[name] += text })
    }
    child.on('error', fail)
    child.on('close', (code, signal) => {
      clearTimeout(timer)
      done({ code, signal, ...out })
    })
    child.stdin.on('error', () => {}) // it may end without reading
    child.stdin.end(input ?? '')
  })
}

// A folder that is gone after the test (E2E_KEEP=1 keeps it).
export function folder(t) {
  const path = mkdtempSync(join(tmpdir(), 'tidegate-e2e-'))
  t.after(() => {
    if (!process.env.E2E_KEEP) rmSync(path, { recursive: true, force: true })
  })
  return path
}

export class Relay {
  #child = null
  #ended = null
  #pinned = [] // ports that it keeps over its runs
  #held = [] // those, while it is down

  // `config` replaces and adds top-level options of the configuration below. `dir` may be given, for a spool on another
  // file system.
  constructor(t, config = {}, { dir, env } = {}) {
    t.after(async () => { // before the folder goes
      await this.killAll()
      this.#letGo()
      this.checkLog()
    })
    this.dir = dir ?? folder(t)
    this.file = join(this.dir, 'tidegate.lua')
    this.env = env ?? {}
    this.log = '' // stderr of all runs
    this.config = {
      listen: ['127.0.0.1:0'],
      admin: '127.0.0.1:0',
      workers: 2,
      egress: { allow_private: true },
      spool: { path: './spool', max_bytes: '64MiB' },
      sources: [{ name: 'web', write_key: WRITE_KEY }],
      destinations: {},
      ...config,
    }
    // Of the clock on the wall: a busy machine may well keep a script call waiting for a second.
    this.config.script = { hard_limit: '60s', ...this.config.script }
  }

  // Writes the configuration, or the Lua text that is given instead.
  write(text) {
    writeFileSync(this.file, text ?? `return ${toLua(this.config)}\n`)
  }

  // Starts the daemon and waits until it takes events.
  async start() {
    await anchorPort()
    this.launch()
    await this.says('ready', { seconds: 30 })
    this.#letGo()
    this.addr = this.lines('listening')[0].addr
    this.adminAddr = this.lines('admin listening')[0]?.addr
    this.port = Number(this.addr.split(':').pop())
    this.url = `http://${this.addr}`
    return this
  }

  // Waits until this run has logged `msg`, n times at least; returns those lines.
  says(msg, { n = 1, seconds } = {}) {
    return until(`the relay says: ${msg}`, () => {
      const found = this.lines(msg)
      if (found.length >= n) return found
      if (this.#ended) throw new Never(`it has ended: ${JSON.stringify(this.#ended)}\n${this.log.slice(this.runFrom)}`)
      return false
    }, { seconds })
  }

  // What the log says once a minute for each reason, and not each time that it happens: waits for `msg`, checks that, and
  // returns those lines.
  async saysOnce(msg) {
    const lines = await this.says(msg)
    const last = new Map()
    for (const { reason, time } of lines) {
      const at = Date.parse(time)
      if (at - last.get(reason) < 59_000) throw new Error(`more than once a minute: ${JSON.stringify(lines)}`)
      last.set(reason, at)
    }
    return lines
  }

  // Starts the daemon only.
  launch() {
    this.write(this.configText)
    this.#ended = null
    this.runFrom = this.log.length
    const child = spawn(TIDEGATE, ['run', '-c', this.file],
      { cwd: this.dir, env: environment(this.env), stdio: ['ignore', 'ignore', 'pipe'], detached: true })
    child.stderr.setEncoding('utf8')
    child.stderr.on('data', (text) => {
      this.log += text
      if (process.env.E2E_LOG) process.stderr.write(text)
    })
    this.exited = new Promise((done) => { // the supervisor's own end
      child.on('exit', (code, signal) => done({ code, signal }))
    })
    this.ended = new Promise((done) => { // that of all its processes, when all that they logged is here
      child.on('close', async (code, signal) => {
        if (this.#child === child) this.#ended = { code, signal }
        await this.#hold() // at once
        done({ code, signal })
      })
    })
    this.#child = child
    this.pid = child.pid
  }

  get isRunning() {
    return this.#child !== null && this.#ended === null
  }

  // Keeps the ports of the first run for the next ones, for senders that know one address only.
  pinPorts() {
    this.config.listen = [this.addr]
    this.config.admin = this.adminAddr ?? 'off'
    this.#pinned = [this.addr, this.adminAddr].filter(Boolean).map((addr) => Number(addr.split(':').pop()))
  }

  // Nobody else is given its ports until it has them again.
  async #hold() {
    if (this.#held.length === 0) this.#held = await Promise.all(this.#pinned.map(holdPort))
  }

  #letGo() {
    for (const port of this.#held) port.letGo()
    this.#held = []
  }

  // Log lines of this run with the message `msg`, as objects.
  lines(msg) {
    const whole = this.log.lastIndexOf('\n') + 1 // the last one may still be on its way
    return this.log.slice(this.runFrom, whole).split('\n').filter(Boolean).map(parseLine).filter((l) => l?.msg === msg)
  }

  async status() {
    const { code, stdout, stderr } = await this.command('status', '--json')
    if (code !== 0) throw new Error(`status: ${stderr}`)
    return JSON.parse(stdout)
  }

  // Workers report twice a second: a status in which each has done so since the call, so that it knows of all before that.
  async freshStatus() {
    const { uptime_ms: since } = await this.status()
    return until('each worker has reported anew', async () => {
      const seen = await this.status()
      return seen.workers.every((w) => w.report.uptime_ms > since) && seen
    })
  }

  // Nothing waits at a destination, nor for a retry, of what was accepted before the call.
  async through(name) {
    return until(`${name} is through`, async () => {
      const d = (await this.freshStatus()).destinations[name]
      if (d.backlog_events === 0 && d.retries === 0 && d.in_flight === 0) return d
      throw new Error(JSON.stringify(d))
    }, { seconds: 60 })
  }

  // What the workers have noted until now is on disk and outlives a kill: pauses, parkings, breakers. A thread beside the
  // loop writes it, and may be late; `forget`, of whomever, returns when every worker is through with that. What a paused
  // destination has in hand and not sent is given back by then.
  async onDisk() {
    const { code, stderr } = await this.command('forget', '--user-id', 'somebody who is not there')
    if (code !== 0) throw new Error(`forget: ${stderr}`)
  }

  async destination(name) {
    return (await this.status()).destinations[name]
  }

  // A command beside the relay: {code, stdout, stderr}
  command(name, ...args) {
    return command([name, ...args, '-c', this.file], { cwd: this.dir, env: this.env })
  }

  // Dead letters as objects; more arguments are filters.
  async dead(...args) {
    const { code, stdout, stderr } = await this.command('dead', 'ls', '--json', ...args)
    if (code !== 0) throw new Error(`dead ls: ${stderr}`)
    return stdout.split('\n').filter(Boolean).map((line) => JSON.parse(line))
  }

  async workerPids() {
    return (await this.status()).workers.filter((w) => w.up).map((w) => w.pid)
  }

  // SIGKILL to one worker, and waits until it is gone.
  async killWorker(which = 0) {
    const pids = await until('a worker is up', async () => { // those that were killed before may not be back yet
      const up = await this.workerPids()
      return up.length > 0 && up
    })
    const pid = pids[which % pids.length]
    process.kill(pid, 'SIGKILL')
    await until(`worker ${pid} is gone`, async () => !(await this.workerPids()).includes(pid))
    return pid
  }

  // SIGKILL to the supervisor and all workers at once, as a power cut for processes. Nothing of them is left then.
  async killAll() {
    if (!this.#child) return
    try {
      if (!this.#ended) process.kill(-this.pid, 'SIGKILL') // else the number may be somebody else's by now
    } catch { /* all gone already */ }
    await this.ended
    await until('the process group is gone', () => running(this.pid).length === 0)
  }

  // No sanitizer said anything, and no worker ended but those that a test killed.
  checkLog() {
    const found = /(ERROR: \w+Sanitizer|runtime error:)[^]*/.exec(this.log)
    if (found) throw new Error(found[0])
    const ends = this.log.split('\n').filter((line) => /worker (died|ended)/.test(line)).map(parseLine)
    for (const line of ends) {
      if (line.msg === 'worker ended' || String(line.signal) !== '9') throw new Error(JSON.stringify(line))
    }
  }

  // SIGTERM and its exit status; fails when it does not end.
  async stop({ seconds = 30 } = {}) {
    process.kill(this.pid, 'SIGTERM')
    const ended = await until('the relay stops', () => this.#ended, { seconds })
    await this.ended
    return ended
  }

  signal(name) {
    process.kill(this.pid, name)
  }

  async restart() {
    await this.stop()
    return this.start()
  }

  // The answer of the admin listener.
  async admin(path, headers = {}) {
    const answer = await fetch(`http://${this.adminAddr}${path}`, { headers: { connection: 'close', ...headers } })
    return { status: answer.status, type: answer.headers.get('content-type'), text: await answer.text() }
  }

  // The sum of a metric's series whose labels contain all of `labels`.
  async metric(name, labels = {}) {
    const { text } = await this.admin('/metrics')
    return parseMetrics(text).filter((s) => s.name === name)
      .filter((s) => Object.entries(labels).every(([k, v]) => s.labels[k] === v))
      .reduce((sum, s) => sum + s.value, 0)
  }
}

// One log line, key=value or JSON, as an object.
export function parseLine(line) {
  if (line.startsWith('{')) return JSON.parse(line)
  const fields = {}
  for (const [, key, value] of line.matchAll(/([A-Za-z_]+)=("(?:[^"\\]|\\.)*"|\S*)/g)) {
    fields[key] = value.startsWith('"') ? JSON.parse(value) : value
  }
  return fields
}

// Prometheus text 0.0.4, strictly: throws on a line that the format does not have.
export function parseMetrics(text) {
  const series = []
  const types = new Map()
  if (!text.endsWith('\n')) throw new Error('the last line has no end')
  for (const line of text.split('\n').slice(0, -1)) {
    const type = /^# TYPE ([a-z_][a-z0-9_]*) (counter|gauge|histogram)$/.exec(line)
    if (type) {
      if (types.has(type[1])) throw new Error(`${type[1]} is declared twice`)
      types.set(type[1], type[2])
      continue
    }
    if (/^# HELP [a-z_][a-z0-9_]* \S.*$/.test(line)) continue
    const sample = /^([a-z_][a-z0-9_]*)(?:\{(.*)\})? (-?[0-9][0-9.e+-]*)$/.exec(line)
    if (!sample) throw new Error(`not a line of the format: ${line}`)
    const labels = {}
    let rest = sample[2] ?? ''
    while (rest) {
      const label = /^([a-z_][a-z0-9_]*)="((?:[^"\\\n]|\\\\|\\"|\\n)*)"(?:,|$)/.exec(rest)
      if (!label) throw new Error(`labels: ${line}`)
      labels[label[1]] = label[2].replace(/\\(.)/g, (_, c) => (c === 'n' ? '\n' : c))
      rest = rest.slice(label[0].length)
    }
    if (!types.has(sample[1])) throw new Error(`${sample[1]} has no TYPE before it`)
    series.push({ name: sample[1], labels, value: Number(sample[3]), type: types.get(sample[1]) })
  }
  return series
}
