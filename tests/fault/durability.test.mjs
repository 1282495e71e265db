// Nothing that was acknowledged is lost: load over several connections while workers, and the whole relay, are killed at
// random moments. Every messageId that was answered 200 is at the partner in the end, or a dead letter.
//
// ROUNDS=n kills of each kind (default 8); SEED=n repeats a run's moments.

import assert from 'node:assert/strict'
import test from 'node:test'

import { Partner } from '../e2e/lib/partner.mjs'
import { Relay } from '../e2e/lib/relay.mjs'
import { keepAlive, send, track } from '../e2e/lib/sender.mjs'
import { until } from '../e2e/lib/wait.mjs'
import { haveOutcome, Load, randoms } from './lib/load.mjs'

const ROUNDS = Number(process.env.ROUNDS ?? 8)
const SEED = Number(process.env.SEED ?? Date.now() % 1e6)
const MOST_BETWEEN_KILLS = 60 // acknowledged batches

async function allArrive(relay, partner, load) {
  await haveOutcome(relay, [...load.acknowledged.keys()], () => new Set(partner.messageIds()))
}

function flakyPartner(t, random) {
  return Partner.start(t, { answer: () => ({ status: random(10) ? 200 : 500 }) })
}

async function loadedRelay(t, random, more = {}) {
  const partner = await flakyPartner(t, random)
  const relay = await new Relay(t, {
    destinations: {
      hook: {
        script: 'webhook', settings: { url: partner.url, batchSize: 20, batchWaitMs: 20 },
        retry: { first: '20ms', max: '200ms' },
      },
    },
    ...more,
  }).start()
  relay.pinPorts()
  relay.open = true
  return { partner, relay, load: new Load(relay, random) }
}

test(`workers are killed under load (SEED=${SEED})`, async (t) => {
  const random = randoms(SEED)
  const { partner, relay, load } = await loadedRelay(t, random)
  for (let round = 0; round < ROUNDS; round++) {
    await load.more(1 + random(MOST_BETWEEN_KILLS))
    await relay.killWorker(random(2))
  }
  await load.more(20)
  await load.stop()
  await allArrive(relay, partner, load)
  const { workers } = await relay.status()
  assert.equal(workers.reduce((n, w) => n + w.restarts, 0), ROUNDS, 'no worker died but those that were killed')
  assert.ok(load.acknowledged.size > 0)
})

test(`the relay is killed under load (SEED=${SEED})`, async (t) => {
  const random = randoms(SEED + 1)
  const { partner, relay, load } = await loadedRelay(t, random)
  for (let round = 0; round < ROUNDS; round++) {
    await load.more(1 + random(MOST_BETWEEN_KILLS))
    relay.open = false
    await relay.killAll()
    await relay.start()
    relay.open = true
  }
  await load.more(20)
  await load.stop()
  await allArrive(relay, partner, load)
  const { code, stdout } = await relay.command('spool', 'verify')
  assert.equal(code, 0, stdout)
})

// A burst is acknowledged while the partner is away, then the relay is killed at once: all of it is delivered later.
test('what waits survives a kill', async (t) => {
  const random = randoms(SEED + 2)
  const { partner, relay, load } = await loadedRelay(t, random)
  await partner.stop()
  await load.more(50)
  await load.stop()
  await relay.killAll()
  await partner.start()
  await relay.start()
  await allArrive(relay, partner, load)
})

// SIGTERM under load: what comes then is answered 503 with Retry-After or finds the door closed, the exit status is 0.
test('SIGTERM under load', async (t) => {
  const random = randoms(SEED + 3)
  const { partner, relay, load } = await loadedRelay(t, random)
  await load.more(30)
  relay.open = false
  const ended = relay.stop()
  assert.deepEqual(await ended, { code: 0, signal: null })
  await load.stop()
  for (const refusal of load.refusals) {
    assert.equal(refusal.status, 503)
    assert.match(refusal.headers['retry-after'], /^[1-9]\d*$/)
    assert.equal(JSON.parse(refusal.body).code, 'stopping')
  }
  await relay.start()
  await allArrive(relay, partner, load)
})

// While requests in flight are given time, a new event on a kept connection is answered 503 and the state is not ready.
test('draining answers 503', async (t) => {
  const partner = await Partner.start(t)
  let release
  const held = new Promise((done) => { release = done })
  partner.answer = () => held
  const relay = await new Relay(t, {
    workers: 1, stop_time: '20s', destinations: { hook: { script: 'webhook', settings: { url: partner.url } } },
  }).start()
  const agent = keepAlive()
  t.after(() => agent.destroy())
  assert.equal((await send(relay, '/v1/track', { agent, body: track('E') })).status, 200)
  await partner.arrived(1)
  const late = send(relay, '/v1/track', { agent, body: track('Late') })
  assert.equal((await late).status, 200)
  const ready = await relay.admin('/readyz')
  assert.equal(ready.status, 200)
  relay.signal('SIGTERM')
  await until('it is not ready', async () => (await relay.admin('/readyz')).status === 503)
  const answer = await send(relay, '/v1/track', { agent, body: track('Too late') })
  assert.equal(answer.status, 503)
  assert.equal(JSON.parse(answer.body).code, 'stopping')
  assert.match(answer.headers['retry-after'], /^[1-9]\d*$/)
  release({ status: 200 })
  assert.deepEqual(await relay.ended, { code: 0, signal: null })
})
