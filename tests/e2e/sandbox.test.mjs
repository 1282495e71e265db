// A script that nothing inside the worker can stop: the supervisor does, the event pays for it, and the neighbours go on.

import assert from 'node:assert/strict'
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import test from 'node:test'

import { Partner } from './lib/partner.mjs'
import { Relay } from './lib/relay.mjs'
import { accepted, track } from './lib/sender.mjs'
import { until } from './lib/wait.mjs'

// A pattern that tries all ways to split a text among thirty stars: no instruction of Lua runs meanwhile, so that no hook
// stops it.
const STUCK = `local tidegate = require "tidegate"
  return { name = "Stuck", settings = { url = { type = "url", required = true } }, on = { track = function(event, settings)
    if event.event == "Poison" then
      local _ = ("a"):rep(200):find(("a*"):rep(30) .. "b")
    end
    tidegate.deliver { url = settings.url .. "/stuck", json = { messageId = event.messageId } }
  end } }`

// The same in a batch, where no single event can be blamed.
const STUCK_BATCH = `local tidegate = require "tidegate"
  return { name = "Stuck", settings = { url = { type = "url", required = true } },
    batches = { all = { max_items = 10, max_wait_ms = 20, join = function(items)
      local _ = ("a"):rep(200):find(("a*"):rep(30) .. "b")
      return { json = items }
    end } },
    on = { track = function(event, settings)
      tidegate.deliver { method = "POST", url = settings.url .. "/stuck", batch = "all", item = event.messageId }
    end } }`

async function world(t, workers, script = STUCK) {
  const partner = await Partner.start(t)
  const relay = new Relay(t, {
    workers,
    scripts: ['./scripts'],
    script: { soft_limit: '50ms', hard_limit: '1s' },
    destinations: {
      stuck: { settings: { url: partner.url } },
      fine: { script: 'webhook', settings: { url: `${partner.url}/fine` } },
    },
  })
  mkdirSync(join(relay.dir, 'scripts/stuck'), { recursive: true })
  writeFileSync(join(relay.dir, 'scripts/stuck/init.lua'), script)
  await relay.start()
  const ids = (path) => new Set(partner.requests.filter((r) => r.path === path).map((r) => JSON.parse(r.body).messageId))
  return { partner, relay, ids }
}

test('a script stuck in C is killed, its event gets two strikes and is a dead letter, others are delivered', async (t) => {
  const { relay, ids } = await world(t, 1)
  const events = [track('Good'), track('Poison'), track('Good'), track('Good')]
  await accepted(relay, events)
  const good = events.filter((e) => e.event === 'Good').map((e) => e.messageId)
  await until('the neighbour has all', () => events.every((e) => ids('/fine').has(e.messageId)))
  await until('the good events of the script arrive', () => good.every((id) => ids('/stuck').has(id)))
  const [dead] = await until('the dead letter', async () => {
    const letters = await relay.dead()
    return letters.length ? letters : null
  })
  assert.equal(dead.messageId, events[1].messageId)
  assert.equal(dead.destination, 'stuck')
  assert.match(dead.reason, /^script_timeout/)
  assert.equal((await relay.dead()).length, 1)
  assert.equal(await relay.metric('tidegate_watchdog_kills_total'), 2)
  await until('it goes on', async () => (await relay.destination('stuck')).state === 'running')
})

test('a script that poisons three events within a minute is suspended, and only it', async (t) => {
  const { relay, ids } = await world(t, 1)
  await accepted(relay, [track('Poison'), track('Poison'), track('Poison')]) // at once: a kill cuts the worker's connections
  const stuck = await until('the destination is suspended', async () => {
    const found = (await relay.status()).destinations.stuck
    return found.state === 'parked' ? found : null
  }, { seconds: 60 })
  assert.match(JSON.stringify(stuck), /script_timeout/)
  const kills = await relay.metric('tidegate_watchdog_kills_total')
  assert.ok(kills <= 6, `${kills} kills for three events`)
  const later = [track('Good'), track('Poison'), track('Good')]
  await accepted(relay, later)
  await until('the neighbour has them', () => later.every((e) => ids('/fine').has(e.messageId)))
  assert.equal(await relay.metric('tidegate_watchdog_kills_total'), kills, 'nothing of it runs any more')
  assert.equal((await relay.admin('/readyz')).status, 200)
})

test('it is suspended also when each of the three is a dead letter before the next comes', async (t) => {
  const { relay } = await world(t, 1)
  const isParked = async () => (await relay.destination('stuck')).state === 'parked'
  let sent = 0
  // Three on a quick machine; on a slow one the first of them may be more than a minute ago when the third comes.
  await until('the destination is suspended', async () => {
    await until('a worker is up', async () => (await relay.admin('/readyz')).status === 200)
    const before = (await relay.dead()).length
    await until('it is accepted', () => { // a kill cuts the worker's connections, and perhaps it was taken
      sent++
      return accepted(relay, [track('Poison')])
    })
    await until('another dead letter, or the end of it', async () => (await relay.dead()).length > before || isParked())
    return isParked()
  }, { seconds: 120 })
  assert.ok(sent >= 3, `after ${sent}`)
  assert.ok(await relay.metric('tidegate_watchdog_kills_total') <= 2 * sent, 'a dead letter is not run again by the next worker')
})

test('a script whose batches are stuck is suspended, and keeps its events', async (t) => {
  const { relay, ids } = await world(t, 1, STUCK_BATCH)
  await accepted(relay, [track('E'), track('E')])
  const stuck = await until('the destination is suspended', async () => {
    const found = (await relay.status()).destinations.stuck
    return found.state === 'parked' ? found : null
  }, { seconds: 60 })
  assert.match(JSON.stringify(stuck), /script_timeout/)
  const later = [track('E'), track('E')]
  await accepted(relay, later)
  await until('the neighbour has them', () => later.every((e) => ids('/fine').has(e.messageId)))
  assert.equal(await relay.metric('tidegate_watchdog_kills_total'), 3)
  await until('all of its events wait', async () => (await relay.destination('stuck')).backlog_events === 4)
  assert.deepEqual(await relay.dead(), [])
})
