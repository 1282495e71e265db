// Tokens that live for less than a minute: one call for all events that want one, over workers, expiry, early ends and
// refusals, and nothing is lost or starves.

import assert from 'node:assert/strict'
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import test from 'node:test'

import { Partner } from './lib/partner.mjs'
import { folder, Relay } from './lib/relay.mjs'
import { accepted, track } from './lib/sender.mjs'
import { until } from './lib/wait.mjs'

const SCRIPT = `
local tidegate = require "tidegate"
local deliver = tidegate.deliver

local function headers(settings)
  return { Authorization = "Bearer " .. tidegate.oauth2 {
    token_url = settings.url .. "/token", client_id = "id", client_secret = settings.secret, scope = "ingest", rate = "tokens",
  } }
end

local function join(items)
  return { json = items }
end

return {
  name = "Bearer",
  settings = { url = { type = "url", required = true }, secret = { type = "string", required = true, secret = true } },
  rates = { calls = { per_second = 20, burst = 1 }, tokens = { per_minute = 600, burst = 10 } },
  batches = { events = { max_items = 25, max_wait_ms = 300, join = join } },
  on = {
    track = function(event, settings)
      deliver { url = settings.url .. "/events", headers = headers(settings), batch = "events", item = event.messageId }
    end,
    identify = function(event, settings)
      deliver { url = settings.url .. "/events", headers = headers(settings), rate = "calls", json = { event.messageId } }
    end,
  },
}
`

// Gives tokens and takes events with those that are still good.
class Bank extends Partner {
  tokens = new Map() // to when they end
  life = 50 // seconds
  grace = 0 // for so many more a token is still taken
  secret = 'right'
  refuses = false // every token
  issued = 0
  taken = []
  refused = 0

  constructor() {
    super({ answer: (request) => (request.path === '/token' ? this.#issue(request) : this.#take(request)) })
  }

  #issue({ headers, body }) {
    if (headers.authorization !== `Basic ${Buffer.from(`id:${this.secret}`).toString('base64')}`) {
      return { status: 401, body: '{"error":"invalid_client"}' }
    }
    assert.deepEqual(Object.fromEntries(new URLSearchParams(body)), { grant_type: 'client_credentials', scope: 'ingest' })
    const token = `token-${++this.issued}`
    this.tokens.set(token, Date.now() + (this.life + this.grace) * 1000)
    return { status: 200, body: JSON.stringify({ access_token: token, token_type: 'bearer', expires_in: this.life }) }
  }

  #take({ headers, body }) {
    const until = this.tokens.get(headers.authorization?.replace(/^Bearer /, ''))
    if (this.refuses || until === undefined || until < Date.now()) {
      this.refused++
      return { status: 401, body: '{"error":"token_expired"}' }
    }
    this.taken.push(...JSON.parse(body))
    return { status: 200 }
  }

  get batches() {
    return this.requests.filter((r) => r.path === '/events').length
  }
}

async function relayWith(t, workers, options = {}) {
  const bank = await Bank.start(t)
  Object.assign(bank, options)
  const scripts = folder(t)
  mkdirSync(join(scripts, 'bearer'))
  writeFileSync(join(scripts, 'bearer', 'init.lua'), SCRIPT)
  const relay = await new Relay(t, { workers, scripts: [scripts],
    destinations: { bearer: { settings: { url: bank.url, secret: 'right' }, retry: { first: '50ms', max: '300ms' } } } }).start()
  return { bank, relay }
}

// Each of several senders has a connection of its own, so that all workers get some.
async function burst(relay, n, type = 'track') {
  const ids = Array.from({ length: n }, (_, i) => `m-${i}`)
  const parts = Array.from({ length: 10 }, (_, i) => ids.filter((_, at) => at % 10 === i))
  await Promise.all(parts.map((part) => accepted(relay, part.map((messageId) => track('E', { type, messageId })))))
  return ids
}

async function allTaken(bank, ids) {
  await until('all events are taken', () => {
    if (new Set(bank.taken).size >= ids.length) return true
    throw new Error(`${new Set(bank.taken).size} of ${ids.length}, ${bank.issued} tokens`)
  }, { seconds: 60 })
  assert.deepEqual([...bank.taken].sort(), [...ids].sort())
}

test('a burst gets one token for each worker, and batches stay whole', async (t) => {
  const { bank, relay } = await relayWith(t, 2)
  const began = Date.now()
  const ids = await burst(relay, 200)
  await allTaken(bank, ids)
  const lives = 1 + Math.floor((Date.now() - began) / 40_000) // refreshed a fifth before its end
  assert.ok(bank.issued <= 2 * lives, `${bank.issued} tokens`)
  assert.equal(bank.refused, 0)
  assert.ok(bank.batches < 60, `${bank.batches} requests`) // 8 full ones, and what the time between senders tears apart
})

// What was asked for with a token that has ended meanwhile is not sent with it. The bank is lenient with what is late on the
// wire, where a busy machine may keep it, and not with what waits in the relay for as long as the last ones do.
test('tokens that end while events wait for their rate', async (t) => {
  const { bank, relay } = await relayWith(t, 2, { life: 1, grace: 3 })
  const began = performance.now()
  const ids = await burst(relay, 160, 'identify') // 8 s at 20 a second: several lives
  await allTaken(bank, ids)
  const most = 40 + 2 * 2 * (performance.now() - began) / 1000 // two for each worker and second
  assert.ok(bank.issued >= 2 && bank.issued < most, `${bank.issued} tokens`)
  assert.notEqual((await relay.destination('bearer')).state, 'parked')
  assert.deepEqual(await relay.dead(), [])
})

test('a token that the partner ends early is replaced', async (t) => {
  const { bank, relay } = await relayWith(t, 1)
  await accepted(relay, [track('E', { messageId: 'first' })])
  await allTaken(bank, ['first'])
  bank.tokens.clear()
  const ids = await burst(relay, 50)
  await allTaken(bank, ['first', ...ids])
  assert.equal(bank.issued, 2)
  assert.ok(bank.refused >= 1)
  assert.notEqual((await relay.destination('bearer')).state, 'parked')
  assert.equal(await relay.metric('tidegate_events_retried_total', { destination: 'bearer' }), 0)
})

const parked = (relay) => until('it is parked', async () => {
  const d = (await relay.freshStatus()).destinations.bearer
  if (d.state === 'parked' && d.in_flight === 0) return d // a late 401 would park it again behind the resume
  throw new Error(JSON.stringify(d))
})

test('a wrong secret parks by the token call, and loses nothing', async (t) => {
  const { bank, relay } = await relayWith(t, 2, { secret: 'another' })
  const ids = await burst(relay, 40)
  await parked(relay)
  assert.equal(bank.batches, 0)
  bank.secret = 'right'
  assert.equal((await relay.command('resume', 'bearer')).code, 0)
  await allTaken(bank, ids)
})

test('fresh tokens that are refused park', async (t) => {
  const { bank, relay } = await relayWith(t, 1, { refuses: true })
  await accepted(relay, [track('E', { messageId: 'm-0' })])
  await parked(relay)
  assert.deepEqual([bank.issued, bank.refused], [2, 2])
  bank.refuses = false
  assert.equal((await relay.command('resume', 'bearer')).code, 0)
  await allTaken(bank, ['m-0'])
})

test('a token endpoint that has enough is not asked again and again', async (t) => {
  const { bank, relay } = await relayWith(t, 1)
  bank.script = Array(3).fill({ status: 429, headers: { 'retry-after': '1' } })
  const ids = await burst(relay, 100)
  await allTaken(bank, ids)
  assert.equal(bank.issued, 1)
  assert.equal(bank.requests.filter((r) => r.path === '/token').length, 4)
  assert.deepEqual(await relay.dead(), [])
})
