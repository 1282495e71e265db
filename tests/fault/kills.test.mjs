// kill -9 at random moments while all shipped destinations are busy and their partners sometimes fail: every event that
// was acknowledged reaches each destination that takes it, or is its dead letter.
//
// ROUNDS=n kills (default 10; LONG=1: 200); SEED=n repeats a run's moments.

import assert from 'node:assert/strict'
import test from 'node:test'

import { Relay } from '../e2e/lib/relay.mjs'
import { until } from '../e2e/lib/wait.mjs'
import { haveOutcome, Load, memoryIsBounded, randoms } from './lib/load.mjs'
import { NAMES, orderOrPerson, shipped, takers } from './lib/shipped.mjs'

const ROUNDS = Number(process.env.ROUNDS ?? (process.env.LONG ? 200 : 10))
const SEED = Number(process.env.SEED ?? Date.now() % 1e6)
const MOST_BETWEEN_KILLS = 40 // acknowledged batches

async function kill(relay, random) {
  if (random(2)) {
    await relay.killWorker(random(2))
    return
  }
  relay.open = false
  await relay.killAll()
  await relay.start()
  relay.open = true
}

// What was acknowledged is at each partner that takes it, nothing is a dead letter, nothing waits.
async function allArrive(relay, load, got) {
  for (const name of NAMES) {
    const ids = [...load.acknowledged.values()].filter((e) => takers(e).includes(name)).map((e) => e.messageId)
    assert.ok(ids.length > 0)
    await haveOutcome(relay, ids, () => got[name], { destination: name, seconds: 60 + ROUNDS })
  }
  assert.deepEqual((await relay.dead()).map((d) => d.reason), [], 'partners that fail for a moment cost no event')
  await until('nothing waits', async () => {
    const { destinations } = await relay.status()
    return NAMES.every((name) => destinations[name].backlog_events === 0 && destinations[name].retries === 0)
  }, { seconds: 60 })
}

// Only a kill repeats anything: without one each request that a partner takes comes to it once, whatever is refused and
// tried again in between.
async function nothingRepeats(relay, random, got, times) {
  const load = new Load(relay, random, { make: orderOrPerson, connections: 2, first: 100 })
  await load.more(40)
  await load.stop()
  await allArrive(relay, load, got)
  for (const name of NAMES) {
    const repeated = [...times[name]].filter(([what, n]) => n > 1 && load.acknowledged.has(what.split(' ').pop()))
    assert.deepEqual(repeated, [], name)
  }
}

test(`all shipped destinations over kills (SEED=${SEED}, ROUNDS=${ROUNDS})`, async (t) => {
  const random = randoms(SEED)
  const { config, got, times } = await shipped(t, () => random(12) === 0)
  const relay = await new Relay(t, { destinations: config, spool: { path: './spool', max_bytes: '256MiB' } }).start()
  relay.pinPorts()
  relay.open = true
  const load = new Load(relay, random, { make: orderOrPerson, connections: 4 })
  for (let round = 0; round < ROUNDS; round++) {
    await load.more(1 + random(MOST_BETWEEN_KILLS))
    await kill(relay, random)
  }
  await load.more(10)
  await memoryIsBounded(relay)
  await load.stop()
  await allArrive(relay, load, got)
  await nothingRepeats(relay, random, got, times)
  const { code, stdout } = await relay.command('spool', 'verify')
  assert.equal(code, 0, stdout)
})
