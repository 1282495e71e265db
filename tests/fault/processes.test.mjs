// Processes that stop, die and cannot start.

import assert from 'node:assert/strict'
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import test from 'node:test'

import { Partner } from '../e2e/lib/partner.mjs'
import { Relay } from '../e2e/lib/relay.mjs'
import { accepted, send, track } from '../e2e/lib/sender.mjs'
import { until } from '../e2e/lib/wait.mjs'
import { FaultyRelay } from './lib/faults.mjs'
import { haveOutcome } from './lib/load.mjs'

function hook(partner) {
  return { hook: { script: 'webhook', settings: { url: partner.url }, retry: { first: '20ms', max: '200ms' } } }
}

function isAlive(pid) {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'latin1')
    return !'ZX'.includes(stat.slice(stat.lastIndexOf(')') + 2)[0])
  } catch {
    return false
  }
}

// A worker that does not run: the others answer, commands answer, and what it had taken goes on when it runs again.
test('SIGSTOP of a worker', async (t) => {
  const partner = await Partner.start(t)
  const relay = await new Relay(t, { workers: 2, hang_limit: '10m', destinations: hook(partner) }).start()
  const ids = []
  for (let i = 0; i < 10; i++) ids.push(...await accepted(relay, [track('Before')]))
  const [pid] = await relay.workerPids()
  process.kill(pid, 'SIGSTOP')
  t.after(() => { try { process.kill(pid, 'SIGCONT') } catch { /* it is gone */ } })
  let answered = 0
  const posts = Array.from({ length: 40 }, async () => {
    const event = track('Meanwhile')
    const { status } = await send(relay, '/v1/track', { body: event, seconds: 60 })
    assert.equal(status, 200)
    ids.push(event.messageId)
    answered++
  })
  await until('those who meet the other worker are answered', () => answered > 0)
  assert.equal((await relay.command('status', '--json')).code, 0)
  process.kill(pid, 'SIGCONT')
  await Promise.all(posts)
  await haveOutcome(relay, ids, () => new Set(partner.messageIds()))
  assert.deepEqual(await relay.stop(), { code: 0, signal: null })
})

// One that never comes back: it is killed and started again, and those who waited at its socket are answered.
test('a worker that hangs', async (t) => {
  const partner = await Partner.start(t)
  // A limit that the other one, who only waits for the processor, does not reach on a busy machine.
  const relay = await new Relay(t, { workers: 2, hang_limit: '8s', destinations: hook(partner) }).start()
  const ids = []
  for (let i = 0; i < 10; i++) ids.push(...await accepted(relay, [track('Before')]))
  const [pid] = await relay.workerPids()
  process.kill(pid, 'SIGSTOP')
  await Promise.all(Array.from({ length: 40 }, async () => {
    const event = track('Meanwhile')
    try {
      const { status } = await send(relay, '/v1/track', { body: event, seconds: 60 })
      if (status === 200) ids.push(event.messageId)
    } catch { /* its connection had been accepted by the one that was killed */ }
  }))
  await until('it has been killed', () => relay.lines('worker hangs, it is restarted').length > 0, { seconds: 40 })
  await until('another runs in its place', async () => {
    const pids = await relay.workerPids()
    return pids.length === 2 && !pids.includes(pid)
  })
  assert.equal(relay.lines('worker hangs, it is restarted').length, 1)
  assert.equal(await relay.metric('tidegate_hang_kills_total'), 1)
  ids.push(...await accepted(relay, [track('After')]))
  await haveOutcome(relay, ids, () => new Set(partner.messageIds()))
})

// The whole machine is suspended for longer than the limits: nobody is killed, nothing is anybody's fault.
test('all processes stopped', async (t) => {
  const partner = await Partner.start(t)
  const relay = await new Relay(t, {
    workers: 2, hang_limit: '4s', script: { hard_limit: '3s' }, destinations: hook(partner), // longer than one waits for the processor
  }).start()
  const pids = await relay.workerPids()
  for (let round = 0; round < 2; round++) {
    process.kill(-relay.pid, 'SIGSTOP')
    await new Promise((done) => { setTimeout(done, 5000) }) // the time itself is what is tested
    process.kill(-relay.pid, 'SIGCONT')
    const ids = await accepted(relay, [track('E')])
    await haveOutcome(relay, ids, () => new Set(partner.messageIds()))
  }
  assert.deepEqual(await relay.workerPids(), pids)
  assert.equal(await relay.metric('tidegate_hang_kills_total'), 0)
})

// A worker that never comes back does not keep the relay from ending.
test('a stop with a stopped worker', async (t) => {
  const partner = await Partner.start(t)
  const relay = await new Relay(t, { workers: 2, stop_time: '500ms', destinations: hook(partner) }).start()
  const [pid] = await relay.workerPids()
  process.kill(pid, 'SIGSTOP')
  assert.equal((await relay.stop()).signal, null)
  assert.equal(isAlive(pid), false)
})

// SIGTERM at whatever moment of the start: it ends by itself, soon, and the next start is as any other.
test('SIGTERM while starting', async (t) => {
  const partner = await Partner.start(t)
  const relay = new Relay(t, { workers: 2, destinations: hook(partner) })
  await relay.start()
  relay.pinPorts()
  const ids = await accepted(relay, [track('E')])
  await relay.killAll()
  const moments = [
    () => true,
    () => existsSync(join(relay.dir, 'spool/control.sock')),
    () => relay.lines('spool opened').length > 0,
    () => relay.lines('ready').length > 0,
  ]
  for (const moment of moments) {
    relay.launch()
    await until('the moment has come', moment)
    const { code, signal } = await relay.stop()
    assert.ok(code === 0 || signal === 'SIGTERM', `${code} ${signal}\n${relay.log}`)
  }
  await relay.start()
  ids.push(...await accepted(relay, [track('E')]))
  await haveOutcome(relay, ids, () => new Set(partner.messageIds()))
})

// The supervisor is killed: its workers end by themselves after what is in flight, and a new relay that is started at
// once waits for their locks instead of failing.
test('the supervisor is killed', async (t) => {
  let release
  const held = new Promise((done) => { release = done })
  const partner = await Partner.start(t, { answer: () => held })
  const relay = await new Relay(t, { workers: 2, stop_time: '30s', destinations: hook(partner) }).start()
  const ids = await accepted(relay, [track('A'), track('B')])
  await partner.arrived(1)
  const pids = await relay.workerPids()
  process.kill(relay.pid, 'SIGKILL')
  await relay.exited
  assert.ok(pids.some(isAlive), 'they give what is in flight some time')
  const group = relay.pid
  const started = relay.start()
  await relay.says('waiting for the workers of a relay that died')
  release({ status: 200 })
  await started
  assert.notEqual(relay.pid, group)
  await until('the workers of the first one have gone', () => !pids.some(isAlive))
  ids.push(...await accepted(relay, [track('C')]))
  await haveOutcome(relay, ids, () => new Set(partner.messageIds()))
})

// A worker that cannot start at the first start: all ends, with its reason and status 1, and no process stays.
test('a worker that cannot start', async (t) => {
  const partner = await Partner.start(t)
  const relay = new Relay(t, { workers: 2, destinations: hook(partner) })
  await relay.start()
  await accepted(relay, [track('E')])
  await relay.stop()
  writeFileSync(join(relay.dir, 'spool/p1/cursors'), Buffer.alloc(200, 7))
  relay.launch()
  const ended = await relay.ended
  assert.deepEqual(ended, { code: 1, signal: null })
  const [said] = relay.lines('worker cannot start') // all that it logged is there
  assert.match(said.reason, /cursors/)
  assert.equal(said.slot, '1')
})

// The same later is no reason to end: it is tried again until it works, and the others go on.
test('a worker that cannot start again', async (t) => {
  const partner = await Partner.start(t)
  const relay = await new FaultyRelay(t, { workers: 2, destinations: hook(partner) }).start()
  const ids = await accepted(relay, [track('E')])
  relay.readOnly(true)
  await relay.killWorker(0)
  await until('it fails', () => relay.lines('worker cannot start').length >= 2)
  assert.equal(relay.isRunning, true)
  relay.readOnly(false)
  await until('both are up', async () => (await relay.workerPids()).length === 2)
  await until('events are taken', async () => {
    const event = track('Again')
    const { status } = await send(relay, '/v1/track', { body: event })
    if (status === 200) ids.push(event.messageId)
    return status === 200
  })
  await haveOutcome(relay, ids, () => new Set(partner.messageIds()))
})

// A folder where a file is wanted, as a person makes by mistake.
test('a spool that is no spool', async (t) => {
  const relay = new Relay(t)
  mkdirSync(join(relay.dir, 'spool/state.db'), { recursive: true })
  relay.launch()
  assert.deepEqual(await relay.ended, { code: 1, signal: null })
  assert.match(relay.log, /state\.db/)
})
