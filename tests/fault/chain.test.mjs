// Two relays in a row: an edge that sends everything to a core with the `segment` script, and a partner behind each. The
// edge's own `webhook` destination shows what the edge made of an event; what comes out of the core must be the same bytes.
//
// ROUNDS=n kills (default 6; LONG=1: 60); SEED=n repeats a run's moments.

import assert from 'node:assert/strict'
import { constants } from 'node:os'
import test from 'node:test'

import { CUT, Partner } from '../e2e/lib/partner.mjs'
import { Relay } from '../e2e/lib/relay.mjs'
import { accepted, basic, send, track } from '../e2e/lib/sender.mjs'
import { until } from '../e2e/lib/wait.mjs'
import { FaultyRelay } from './lib/faults.mjs'
import { haveOutcome, Load, randoms } from './lib/load.mjs'

const ROUNDS = Number(process.env.ROUNDS ?? (process.env.LONG ? 60 : 6))
const SEED = Number(process.env.SEED ?? Date.now() % 1e6)
const MOST_BETWEEN_KILLS = 30 // acknowledged batches
const { ENOSPC } = constants.errno
const CORE_KEY = 'core-write-key'
const FAST = { first: '20ms', max: '200ms' }
const EDGE = { name: 'edge', write_key: CORE_KEY, trusted: true, allow_delete: true }

const hook = (partner) => ({ script: 'webhook', settings: { url: partner.url }, retry: FAST })

// A partner that keeps the bytes of each event by messageId, and no requests, since runs may be long.
async function keeper(t) {
  const partner = await Partner.start(t, { answer: (request, self) => {
    self.requests.length = 0
    const id = JSON.parse(request.body).messageId
    self.bodies.set(id, [...(self.bodies.get(id) ?? []), request.body])
    return { status: 200 }
  } })
  partner.bodies = new Map()
  return partner
}

async function core(t, { sources = [EDGE], make = Relay, ...more } = {}) {
  const partner = await keeper(t)
  const relay = await new make(t, { sources, destinations: { out: hook(partner) }, ...more }).start()
  relay.pinPorts()
  return { relay, partner }
}

async function edge(t, endpoint, { settings, ...more } = {}) {
  const partner = await keeper(t)
  const relay = await new Relay(t, {
    sources: [{
      name: 'web', write_key: 'e2e-write-key', allow_delete: true, trusted_proxies: ['127.0.0.1/32'],
    }],
    destinations: {
      core: {
        script: 'segment', settings: { endpoint: `${endpoint}/v1/batch`, writeKey: CORE_KEY, batchSize: 40, batchWaitMs: 20, ...settings },
        retry: FAST,
      },
      tap: hook(partner),
    },
    ...more,
  }).start()
  relay.pinPorts()
  relay.open = true
  return { relay, partner }
}

function arrived(relay, ids, partner) {
  return haveOutcome(relay, ids, () => partner.bodies, { seconds: 90 })
}

// Every copy that came out of the core is one that the edge made.
function checkBytes(ids, atEdge, atCore) {
  for (const id of ids) {
    for (const body of atCore.bodies.get(id)) assert.ok(atEdge.bodies.get(id).includes(body), `${body}\n${atEdge.bodies.get(id)}`)
  }
}

// --- events whose bytes are easily spoilt ---

// The sender's clock is years ahead; each event was made five seconds before it was sent.
const CLIENT = Date.UTC(2031, 0, 2, 3, 4, 5)
const ON_THE_WAY = 5000

const TYPES = {
  track: '"event":"Order Completed"', identify: '"traits":{"plan":"pro","empty":[]}', page: '"name":"Home"', screen: '"name":"Start"',
  group: '"groupId":"g-1"', alias: '"previousId":"before"', delete: '"context":[],"integrations":[]',
}
const HARD = '"properties":{"z":12345678901234567,"a":-0.10,"list":[],"map":{},"null":null,"a.b":"Grüße 😀 \\u00e9 \\/","1e2":1e2}'

// JSON text of one event; `head` is what no relay may touch.
function head(type, id) {
  return `{"userId":"user-1", "type":"${type}","messageId":"${id}",${TYPES[type]},${HARD}`
}

const text = (type, id) => `${head(type, id)},"timestamp":"${new Date(CLIENT).toISOString()}"}`

function hardEvent(messageId, random) {
  return { messageId, type: Object.keys(TYPES)[random(7)] }
}

function hardBatch(events) {
  const sentAt = new Date(CLIENT + ON_THE_WAY).toISOString()
  return `{"batch":[${events.map((e) => text(e.type, e.messageId))}],"sentAt":"${sentAt}"}`
}

function checkHard({ type, messageId }, body) {
  assert.ok(body.startsWith(head(type, messageId)), body)
  const event = JSON.parse(body)
  assert.equal(event.originalTimestamp, new Date(CLIENT).toISOString())
  assert.equal(event.sentAt, new Date(CLIENT + ON_THE_WAY).toISOString())
  assert.equal(Date.parse(event.receivedAt) - Date.parse(event.timestamp), ON_THE_WAY, 'the clock is corrected once')
}

// --- kills ---

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

// Either relay, its workers or all of it, at any moment: each acknowledged event comes out of the core, whole.
test(`kills of either relay (SEED=${SEED}, ROUNDS=${ROUNDS})`, async (t) => {
  const random = randoms(SEED)
  const second = await core(t)
  const first = await edge(t, second.relay.url)
  const load = new Load(first.relay, random, { make: hardEvent, encode: hardBatch, connections: 4 })
  for (let round = 0; round < ROUNDS; round++) {
    await load.more(1 + random(MOST_BETWEEN_KILLS))
    await kill(random(2) ? first.relay : second.relay, random)
  }
  await load.more(10)
  await load.stop()
  const ids = [...load.acknowledged.keys()]
  await arrived(second.relay, ids, second.partner)
  await arrived(first.relay, ids, first.partner)
  await first.relay.through('tap') // of what came twice over a kill, both copies
  checkBytes(ids, first.partner, second.partner)
  for (const event of load.acknowledged.values()) {
    for (const body of second.partner.bodies.get(event.messageId)) checkHard(event, body)
  }
  for (const { relay } of [first, second]) {
    assert.deepEqual((await relay.dead()).map((d) => d.reason), [])
    assert.deepEqual(await relay.dead('--set-aside'), [])
    const { code, stdout } = await relay.command('spool', 'verify')
    assert.equal(code, 0, stdout)
  }
})

// --- the core says no ---

// The answers of the core never reach the edge, so the edge sends everything again: the core takes each event once.
test('repeats of the edge are one event at the core', async (t) => {
  const second = await core(t)
  let lost = 5
  const between = await Partner.start(t, { answer: async (request) => {
    const { authorization } = request.headers
    const answer = await send(second.relay, '/v1/batch', { body: request.body, headers: { authorization } })
    return lost-- > 0 ? CUT : answer
  } })
  const first = await edge(t, between.url)
  const ids = []
  for (let i = 0; i < 10; i++) ids.push(...await accepted(first.relay, [track('E'), track('F')]))
  await arrived(second.relay, ids, second.partner)
  await first.relay.through('core')
  assert.ok(await second.relay.metric('tidegate_events_duplicate_total') > 0)
  assert.deepEqual(ids.filter((id) => second.partner.bodies.get(id).length !== 1), [])
})

// Refusals with Retry-After: the edge waits as long as it is told and loses nothing.
test('the core has enough: 429', async (t) => {
  const second = await core(t, { sources: [{ ...EDGE, rate: 20 }] })
  const first = await edge(t, second.relay.url, { settings: { batchSize: 10 } })
  const told = () => first.relay.metric('tidegate_requests_total', { destination: 'core', status: '4xx' })
  const ids = []
  for (let n = 0; n < 10 && !await told(); n++) { // more than once only where they take as long as the rate allows them
    ids.push(...await accepted(first.relay, Array.from({ length: 100 }, () => track('E'))))
    await until('they are there, or it is told to wait', async () =>
      ids.every((id) => second.partner.bodies.has(id)) || await told())
  }
  assert.ok(await told() > 0, 'it was told to wait')
  await arrived(second.relay, ids, second.partner)
  assert.deepEqual(await first.relay.dead(), [])
})

test('the disk of the core is full', async (t) => {
  const second = await core(t, { make: FaultyRelay })
  second.relay.fail('write', { error: ENOSPC })
  const first = await edge(t, second.relay.url)
  const ids = await accepted(first.relay, Array.from({ length: 100 }, () => track('E', { properties: { pad: 'x'.repeat(2000) } })))
  await until('the edge was refused', async () =>
    await first.relay.metric('tidegate_requests_total', { destination: 'core', status: '5xx' }) > 0)
  await until('the core says why', async () => (await second.relay.admin('/readyz')).status === 503)
  assert.equal((await send(first.relay, '/v1/track', { body: track('E') })).status, 200, 'the edge goes on')
  second.relay.heal('write')
  await arrived(second.relay, ids, second.partner)
  assert.deepEqual(await first.relay.dead(), [])
})

// A key that the core does not know parks the destination; with the right one all of it comes.
test('a wrong write key', async (t) => {
  const second = await core(t)
  const first = await edge(t, second.relay.url, { settings: { writeKey: 'of yesterday' } })
  const ids = await accepted(first.relay, [track('A'), track('B')])
  await until('it is parked', async () => (await first.relay.destination('core')).state === 'parked')
  first.relay.config.destinations.core.settings.writeKey = CORE_KEY
  first.relay.write()
  assert.equal((await first.relay.command('reload')).code, 0)
  await arrived(second.relay, ids, second.partner)
  assert.deepEqual(await first.relay.dead(), [])
})

// --- what the edge knows and the core must not settle anew ---

// Addresses, times and ids are the edge's; what a sender says of destinations is for the core to obey.
test('what the core leaves alone', async (t) => {
  const second = await core(t)
  const first = await edge(t, second.relay.url)
  const post = async (body, headers = {}) => {
    const path = `/v1/${JSON.parse(body).type}`
    const answer = await send(first.relay, path, { body, headers: { 'x-forwarded-for': '203.0.113.9', ...headers } })
    assert.equal(answer.status, 200)
  }
  await post('{"type":"track","event":"E","userId":1,"messageId":"m-address","context":{"direct":true}}')
  await post('{"type":"track","event":"E","userId":1,"messageId":"m-browser"}', { origin: 'https://shop.example' })
  await post('{"type":"track","event":"E","userId":1,"messageId":"m-nothing","context":[]}')
  await post('{"type":"track","event":"E","userId":1,"messageId":"m-off","integrations":{"Webhook":false}}')
  await post('{"type":"track","event":"E","userId":1,"messageId":"m-served","_metadata":{"bundled":["Segment.io","Webhook"],"nodeVersion":"20"}}')
  await post('{"type":"track","event":"E","userId":1,"messageId":"m-key","writeKey":"of the client","_metadata":{"bundled":["Segment.io"]}}')
  await arrived(second.relay, ['m-address', 'm-browser', 'm-nothing', 'm-key'], second.partner)
  await arrived(first.relay, ['m-address', 'm-browser', 'm-nothing', 'm-key'], first.partner)
  await until('the core has taken the others', async () => await second.relay.metric('tidegate_events_skipped_total') === 2)
  checkBytes(['m-address', 'm-browser', 'm-nothing', 'm-key'], first.partner, second.partner)
  const [address, browser, nothing, key] = ['m-address', 'm-browser', 'm-nothing', 'm-key']
    .map((id) => JSON.parse(second.partner.bodies.get(id)[0]))
  assert.equal(address.context.ip, '203.0.113.9')
  assert.equal(browser.context.ip, '203.0.113.9')
  assert.deepEqual(nothing.context, [])
  assert.deepEqual([key.writeKey, key._metadata], [undefined, undefined])
  assert.equal(await second.relay.metric('tidegate_events_skipped_total', { reason: 'integration_off' }), 1)
  assert.equal(await second.relay.metric('tidegate_events_skipped_total', { reason: 'bundled' }), 1)
  assert.ok(!second.partner.bodies.has('m-off') && !second.partner.bodies.has('m-served'))
})

// An event without a messageId gets one at the edge, which the core keeps; the two partners name the same event.
test('a messageId is given once', async (t) => {
  const second = await core(t)
  const first = await edge(t, second.relay.url)
  assert.equal((await send(first.relay, '/v1/track', { body: { event: 'E', userId: 'u' } })).status, 200)
  await until('both have it', () => first.partner.bodies.size === 1 && second.partner.bodies.size === 1)
  assert.deepEqual([...second.partner.bodies], [...first.partner.bodies])
})

// The edge waits for the core for long: what comes then tells when it was received, not when it was passed on.
test('a core that comes late changes no time', async (t) => {
  const second = await core(t)
  await second.relay.stop()
  const first = await edge(t, second.relay.url)
  const event = { messageId: 'm-late', type: 'track' }
  assert.equal((await send(first.relay, '/v1/batch', { body: hardBatch([event]) })).status, 200)
  await arrived(first.relay, ['m-late'], first.partner)
  await until('a second has passed', () => Date.now() > Date.parse(JSON.parse(first.partner.bodies.get('m-late')[0]).receivedAt) + 1000)
  await second.relay.start()
  await arrived(second.relay, ['m-late'], second.partner)
  assert.deepEqual(second.partner.bodies.get('m-late'), first.partner.bodies.get('m-late'))
  checkHard(event, second.partner.bodies.get('m-late')[0])
})
