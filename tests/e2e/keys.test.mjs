// Deliveries of equal key: one in flight, over all workers.

import assert from 'node:assert/strict'
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import test from 'node:test'

import { Partner } from './lib/partner.mjs'
import { Relay } from './lib/relay.mjs'
import { accepted, track } from './lib/sender.mjs'
import { until } from './lib/wait.mjs'

// The single calls of a user one after the other, or batches of whoever there is.
const SCRIPT = `
local tidegate = require "tidegate"
return {
  name = "Keyed",
  settings = { url = { type = "url", required = true }, batched = { type = "boolean", default = false } },
  batches = { all = { max_items = 4, max_wait_ms = 50, join = function(items) return { json = items } end } },
  on = {
    track = function(event, settings)
      tidegate.deliver {
        url = settings.url, key = event.userId,
        batch = settings.batched and "all" or nil,
        item = settings.batched and { userId = event.userId, messageId = event.messageId } or nil,
        json = not settings.batched and { { userId = event.userId, messageId = event.messageId } } or nil,
      }
    end,
  },
}`

// A partner that holds the first request with `held` until it is let go, and counts what comes of a user at once.
async function setUp(t, { held, batched, timeout }) {
  const seen = { most: new Map(), arrived: new Set(), open: new Map() }
  let letGo
  const gone = new Promise((done) => { letGo = done })
  let holding = false
  const partner = await Partner.start(t, { answer: async (request) => {
    const items = JSON.parse(request.body)
    const users = new Set(items.map((i) => i.userId))
    for (const u of users) {
      seen.open.set(u, (seen.open.get(u) ?? 0) + 1)
      seen.most.set(u, Math.max(seen.most.get(u) ?? 0, seen.open.get(u)))
    }
    if (users.has(held) && !holding) {
      holding = true
      await gone
    }
    for (const u of users) seen.open.set(u, seen.open.get(u) - 1)
    for (const i of items) seen.arrived.add(i.messageId)
    return { status: 200 }
  } })
  const relay = new Relay(t, {
    workers: 3, scripts: ['./scripts'],
    destinations: { keyed: { script: 'keyed', settings: { url: partner.url, batched }, timeout } },
  })
  mkdirSync(join(relay.dir, 'scripts/keyed'), { recursive: true })
  writeFileSync(join(relay.dir, 'scripts/keyed/init.lua'), SCRIPT)
  await relay.start()
  return { partner, relay, seen, letGo, isHeld: () => holding }
}

const of = (user) => track('E', { userId: user })

// Workers in whose part of the log something waits for the destination.
async function waitingIn(relay) {
  const { workers } = await relay.status()
  return workers.filter((w) => w.report.destinations?.some((d) => d.backlog_events > 0)).length
}

for (const batched of [false, true]) {
  test(`one at a time, while other keys go on${batched ? ', in batches' : ''}`, async (t) => {
    const { relay, seen, letGo, isHeld } = await setUp(t, { held: 'same', batched, timeout: '10m' })
    const ids = await accepted(relay, [of('same')])
    await until('it is under way', isHeld)
    await until('the others are on several workers', async () => {
      ids.push(...await accepted(relay, [of('same')]))
      return await waitingIn(relay) >= 2
    })
    const others = []
    for (let i = 0; i < 20; i++) others.push(...await accepted(relay, [of(`other ${i}`)]))
    // A batch in which somebody waits for that key waits with it.
    if (!batched) await until('the others have come', () => others.every((id) => seen.arrived.has(id)))
    assert.equal(seen.most.get('same'), 1)
    letGo()
    await until('all have come', () => [...ids, ...others].every((id) => seen.arrived.has(id)), { seconds: 60 })
    assert.equal(seen.most.get('same'), 1)
  })
}

// What a killed worker had under way does not keep its key for ever.
test('the worker that has it is killed', async (t) => {
  const { relay, seen, isHeld } = await setUp(t, { held: 'same', timeout: '2s' })
  const ids = await accepted(relay, [of('same')])
  await until('it is under way', isHeld)
  for (let i = 0; i < 9; i++) ids.push(...await accepted(relay, [of('same')]))
  for (let i = 0; i < 3; i++) await relay.killWorker(i)
  await until('all have come', () => ids.every((id) => seen.arrived.has(id)), { seconds: 60 })
})
