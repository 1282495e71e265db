// Why a destination keeps still is the same on all workers, is told, and survives restarts.

import assert from 'node:assert/strict'
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import test from 'node:test'
import { isDeepStrictEqual } from 'node:util'

import { HANG, Partner } from './lib/partner.mjs'
import { folder, Relay } from './lib/relay.mjs'
import { accepted, track } from './lib/sender.mjs'
import { until } from './lib/wait.mjs'

function hook(partner, more) {
  return { script: 'webhook', settings: { url: `${partner.url}/in` }, retry: { first: '50ms', max: '300ms' }, ...more }
}

// Events of many connections, so that every worker gets some.
async function many(relay, n, name) {
  const ids = Array.from({ length: n }, (_, i) => `${name}-${i}`)
  await Promise.all(ids.map((id) => accepted(relay, [track('E', { messageId: id })])))
  return ids
}

const state = (relay, wanted) => until(`it is ${wanted}`, async () => {
  const d = await relay.destination('hook')
  if (d.state === wanted) return d
  throw new Error(JSON.stringify(d))
})

// What a relay that was killed has sent, and is not read yet, is not taken for what the next one sends.
async function forgetAll(partner) {
  await partner.stop()
  await partner.start()
}

// The operator's pause: durable when the command returns, on every worker, also on one that is new.
test('paused by the operator', async (t) => {
  const partner = await Partner.start(t)
  const other = await Partner.start(t)
  const relay = await new Relay(t, { workers: 3, destinations: { hook: hook(partner), other: hook(other) } }).start()
  const paused = await relay.command('pause', 'hook')
  assert.deepEqual([paused.code, paused.stdout], [0, 'paused\n'])
  await relay.killAll()
  await relay.start()
  await state(relay, 'paused')
  const ids = await many(relay, 60, 'm')
  await until('the other destination has all', () => other.messageIds().length >= 60)
  await relay.killWorker(1)
  await until('all workers are up', async () => (await relay.workerPids()).length === 3)
  await relay.restart()
  await state(relay, 'paused')
  assert.equal(await relay.metric('tidegate_destination_paused', { destination: 'hook' }), 1)
  assert.equal(await relay.metric('tidegate_destination_paused', { destination: 'other' }), 0)
  await until('all wait', async () => (await relay.destination('hook')).backlog_events === 60)
  assert.equal(partner.requests.length, 0)
  assert.equal((await relay.command('resume', 'hook')).stdout, 'resumed\n')
  await relay.killAll()
  await relay.start()
  await until('all have come', () => new Set(partner.messageIds()).size === 60)
  assert.deepEqual([...new Set(partner.messageIds())].sort(), ids.sort())
})

// What the partner asked for: all workers keep still, also after a kill; resume ends it.
async function keepsStill(t, answer, options) {
  const partner = await Partner.start(t, { script: [answer] })
  const relay = await new Relay(t, { workers: 3, ...options(partner) }).start()
  await accepted(relay, [track('E', { messageId: 'm-first' })])
  await partner.arrived(1)
  const { paused_until: told } = await state(relay, 'waiting')
  const left = (Date.parse(told) - Date.now()) / 1000
  assert.ok(left > 500 && left <= 605, `${left} s`)
  await until('the metric says so', async () => {
    const seconds = await relay.metric('tidegate_destination_waiting_seconds', { destination: 'hook' })
    return seconds > 500 && seconds <= 605
  })
  const says = /hook: waiting.*the partner asked to wait until 20\S+ \(\d+ from POST http:\/\/127\.0\.0\.1:\d+\/\S+\)$/m
  await until('the status says why', async () => says.test((await relay.command('status')).stdout))
  await relay.onDisk()
  await relay.killAll()
  await relay.start()
  const again = await state(relay, 'waiting')
  await until('the status says why', async () => says.test((await relay.command('status')).stdout))
  assert.ok(Math.abs(Date.parse(again.paused_until) - Date.parse(told)) < 5000)
  await many(relay, 40, 'm')
  await until('all are known', async () => (await relay.status()).workers
    .flatMap((w) => w.report?.partitions ?? []).reduce((sum, p) => sum + p.last, 0) >= 41)
  assert.equal(partner.requests.length, 1)
  assert.equal((await relay.command('resume', 'hook')).code, 0)
  await until('all have come', () => new Set(partner.messageIds()).size >= 40)
}

test('Retry-After', (t) => keepsStill(t, { status: 429, headers: { 'retry-after': '600' } },
  (partner) => ({ destinations: { hook: hook(partner) } })))

test('Retry-After as a date', (t) => keepsStill(t,
  { status: 503, headers: { 'retry-after': new Date(Date.now() + 600_000).toUTCString() } },
  (partner) => ({ destinations: { hook: hook(partner) } })))

function limited(t, reset) {
  const dir = folder(t)
  mkdirSync(join(dir, 'limited'))
  writeFileSync(join(dir, 'limited', 'init.lua'), `
local tidegate = require "tidegate"
return {
  name = "Limited",
  settings = { url = { type = "url", required = true } },
  rates = { calls = { per_second = 1000, burst = 1000, reset = "${reset}" } },
  on = { track = function(event, settings)
    tidegate.deliver { method = "POST", url = settings.url, rate = "calls", json = { messageId = event.messageId } }
  end },
}
`)
  return (partner) => ({ scripts: [dir], destinations: { hook: hook(partner, { script: 'limited' }) } })
}

test('X-RateLimit-Reset in seconds, with the last call that is allowed', (t) => keepsStill(t,
  { status: 200, headers: { 'x-ratelimit-remaining': '0', 'x-ratelimit-reset': '600' } }, limited(t, 'seconds')))

test('X-RateLimit-Reset as a time', (t) => keepsStill(t,
  { status: 429, headers: { 'x-ratelimit-reset': String(Math.floor(Date.now() / 1000) + 600) } }, limited(t, 'epoch')))

test('X-RateLimit-Reset in seconds, with a 429', (t) => keepsStill(t,
  { status: 429, headers: { 'x-ratelimit-reset': '600' } }, limited(t, 'seconds')))

// A breaker that is open when everything is killed: what comes after the start is one probe, of all workers together, and
// nothing else until it is answered.
test('the breaker', async (t) => {
  const partner = await Partner.start(t, { answer: { status: 500 } })
  const other = await Partner.start(t)
  const relay = await new Relay(t, {
    workers: 3, stop_time: '500ms', destinations: { hook: hook(partner, { timeout: '10m' }), other: hook(other) },
  }).start()
  await many(relay, 60, 'm')
  await until('it is open on all workers', async () => {
    const workers = (await relay.status()).workers.map((w) => w.report.destinations.find((d) => d.name === 'hook'))
    return workers.every((d) => d.breaker !== 'closed')
  })
  await until('the metric says so', async () =>
    await relay.metric('tidegate_destination_breaker_open', { destination: 'hook' }) === 1)
  await relay.onDisk()
  await relay.killAll()
  await forgetAll(partner)
  partner.answer = HANG
  const before = partner.requests.length
  await relay.start()
  await many(relay, 30, 'n')
  await until('the probe', () => partner.requests.length > before, { seconds: 60 })
  await many(relay, 30, 'o')
  await until('the other has all', () => new Set(other.messageIds()).size === 120)
  await relay.killWorker(1)
  await many(relay, 30, 'p')
  await until('the other has all', () => new Set(other.messageIds()).size === 150)
  assert.ok(partner.requests.length <= before + 2, 'one, and one for a worker that was killed with it')
  partner.answer = { status: 200 }
  await relay.killAll()
  await relay.start()
  await until('all have come', () => new Set(partner.messageIds().slice(before)).size === 150, { seconds: 60 })
  await until('it is closed on all workers', async () => (await relay.destination('hook')).breaker === 'closed')
})

// A partner that has just come back, or a relay, begins with few requests at once: one more with each success.
async function rampsUp(t, begin) {
  const partner = await Partner.start(t, { answer: HANG })
  const relay = await new Relay(t, {
    workers: 1, destinations: { hook: hook(partner, { concurrency: 8, timeout: '10m' }) },
  }).start()
  const held = []
  let done = 0
  let most = 0
  const seen = []
  await begin(relay, partner)
  await forgetAll(partner)
  partner.answer = () => new Promise((answer) => {
    held.push(() => answer({ status: 200 }))
    most = Math.max(most, held.length)
    seen.push({ underWay: held.length, done })
  })
  await relay.start()
  if ((await relay.destination('hook')).state === 'paused') assert.equal((await relay.command('resume', 'hook')).code, 0)
  for (; done < 30; done++) {
    await until('a request', () => held.length > 0)
    if (done >= 10 && most < 8) await until('as many as may be', () => held.length === Math.min(8, 30 - done))
    held.shift()()
  }
  assert.ok(seen.every((s) => s.underWay <= 2 + s.done), JSON.stringify(seen))
  assert.equal(most, 8)
}

test('ramp-up after a restart', (t) => rampsUp(t, async (relay, partner) => {
  await many(relay, 30, 'm')
  await partner.arrived(1)
  await relay.killAll()
}))

test('ramp-up after a pause', (t) => rampsUp(t, async (relay) => {
  assert.equal((await relay.command('pause', 'hook')).code, 0)
  await many(relay, 30, 'm')
  await relay.killAll()
}))

// What has been used of an hour's allowance is used after a restart too.
test('used rate allowance', async (t) => {
  const partner = await Partner.start(t)
  const other = await Partner.start(t)
  const dir = folder(t)
  mkdirSync(join(dir, 'hourly'))
  writeFileSync(join(dir, 'hourly', 'init.lua'), `
local tidegate = require "tidegate"
return {
  name = "Hourly",
  settings = { url = { type = "url", required = true } },
  rates = { calls = { per_hour = 10, burst = 10 } },
  on = { track = function(event, settings)
    tidegate.deliver { method = "POST", url = settings.url, rate = "calls", json = { messageId = event.messageId } }
  end },
}
`)
  const relay = await new Relay(t, {
    workers: 3, scripts: [dir], destinations: { hook: hook(partner, { script: 'hourly' }), other: hook(other) },
  }).start()
  await many(relay, 30, 'm')
  await partner.arrived(10)
  await relay.restart()
  await many(relay, 30, 'n')
  await until('the other has all', () => other.messageIds().length >= 60)
  await state(relay, 'rate_limited')
  assert.equal(partner.requests.length, 10)
})

// A parking ends with a reload that changes the destination's settings, on all workers and for good, and with no other.
test('parked until its settings change', async (t) => {
  const partner = await Partner.start(t, { answer: (r) => ({ status: r.headers['x-key'] === 'new' ? 200 : 401 }) })
  const relay = await new Relay(t, {
    workers: 3, destinations: { hook: hook(partner, { settings: { url: `${partner.url}/in`, headers: { 'X-Key': 'old' } } }) },
  }).start()
  await accepted(relay, [track('E', { messageId: 'm-first' })])
  await state(relay, 'parked')
  const [alert] = await relay.says('destination parked: repair it, then `tidegate resume`')
  assert.deepEqual([alert.level, alert.destination, alert.reason], ['error', 'hook', 'http_401'])
  await many(relay, 30, 'm')
  relay.config.destinations.hook.concurrency = 4
  relay.write()
  assert.equal((await relay.command('reload')).code, 0)
  await state(relay, 'parked')
  await relay.onDisk()
  await relay.killAll()
  await relay.start()
  await state(relay, 'parked')
  const before = partner.requests.length
  relay.config.destinations.hook.settings.headers['X-Key'] = 'new'
  relay.write()
  assert.equal((await relay.command('reload')).code, 0)
  await until('all have come', () => new Set(partner.messageIds().slice(before)).size === 31)
  await state(relay, 'running')
  await relay.restart()
  await state(relay, 'running')
  assert.deepEqual(await relay.dead(), [])
})

// What parks by its number is counted over all workers: the twentieth reject of a kind, and the second event's 403. The event
// that shows it is kept.
test('rejects in a row on several workers', async (t) => {
  const partner = await Partner.start(t, { answer: (r) => ({ status: r.path === '/denied' ? 403 : 404 }) })
  const denied = { ...hook(partner), settings: { url: `${partner.url}/denied` } }
  const relay = await new Relay(t, { workers: 3, destinations: { hook: hook(partner, { concurrency: 1 }), denied } }).start()
  for (let i = 0; i < 20; i++) {
    await many(relay, 1, `m${i}`)
    await until('it was asked', () => partner.requests.filter((r) => r.path === '/in').length === i + 1)
  }
  await until('the first nineteen, and the first one of the other, are dead letters', async () => {
    const dead = await relay.dead()
    return isDeepStrictEqual(['hook', 'denied'].map((name) => dead.filter((d) => d.destination === name).length), [19, 1])
  })
  await until('both are parked, and keep what showed it', async () => {
    const { hook: sick, denied: other } = (await relay.status()).destinations
    const seen = [sick.state, other.state, sick.waiting]
    return isDeepStrictEqual(seen, ['parked', 'parked', 1]) || Promise.reject(new Error(JSON.stringify(seen)))
  })
})
