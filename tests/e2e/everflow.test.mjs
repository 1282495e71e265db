// Everflow: the relay against a stand-in that knows the documented postback and nothing of the script.

import assert from 'node:assert/strict'
import test from 'node:test'

import { Everflow } from './partners/everflow.mjs'
import { Relay } from './lib/relay.mjs'
import { accepted, send, track } from './lib/sender.mjs'
import { base64, EventEndpoint, settled } from './lib/standin.mjs'
import { until } from './lib/wait.mjs'

const CLICK = '0123456789abcdef0123456789abcdef'
const AT = '2026-01-02T03:04:05.678Z'
const AT_SECONDS = '1767323045'
const API_KEY = 'everflow-api-key'
const QUICK = { retry: { first: '50ms', max: '300ms' } }

function direct(partner, settings = {}, more = {}) {
  return {
    everflow: {
      settings: { apiKey: API_KEY, eventMapping: { Purchase: '24', Base: '0' }, postbackUrl: `${partner.url}/?nid=7`, ...settings },
      ...QUICK,
      ...more,
    },
  }
}

// A visitor's event that came through Everflow; `more` in context.
function purchase(properties = {}, { event = 'Purchase', context = {}, ...more } = {}) {
  return track(event, { timestamp: AT, properties, ...more, context: { referrer: { type: 'everflow', id: CLICK }, ...context } })
}

async function skips(relay) {
  const reasons = {}
  for (const reason of ['no_transaction_id', 'other_referrer', 'not_mapped']) {
    reasons[reason] = await relay.metric('tidegate_events_skipped_total', { destination: 'everflow', reason })
  }
  return reasons
}

function deadLetters(relay, n) {
  return until(`${n} dead letters`, async () => {
    const found = await relay.dead()
    return found.length >= n && found
  })
}

// The documented sample: a click's purchase with an advertiser event's id. What Everflow has no field for stays here.
test('the sample event, and no more than it needs', async (t) => {
  const partner = await Everflow.start(t)
  const relay = await new Relay(t, { destinations: direct(partner) }).start()
  const body = `{"type":"track","event":"Purchase","userId":"u-1","messageId":"m","timestamp":"${AT}",`
    + `"context":{"ip":"203.0.113.9","referrer":{"id":"${CLICK}","type":"everflow"}},`
    + '"properties":{"adv1":"one","adv3":3,"total":76.0,"orderId":"o-1","plan":"gold","sub1":"s"}}'
  assert.equal((await send(relay, '/v1/track', { body })).status, 200)
  await partner.arrived(1)
  assert.deepEqual(partner.refused, [])
  assert.deepEqual(partner.conversions, [{
    nid: '7', transaction_id: CLICK, adv_event_id: '24', amount: '76', order_id: 'o-1', adv1: 'one', adv3: '3', user_id: 'u-1',
    timestamp: AT_SECONDS,
  }])
  await settled(relay, 'everflow', 1)
  assert.deepEqual(await relay.dead(), [])
})

const LONG = Array.from({ length: 12 }, (_, i) => `${String(i).padStart(2, '0')}${CLICK.slice(2)}`).join('|')

// properties, the rest of the event, the fields that are expected beside those that every event has
const rows = {
  'the base conversion has no event': [{}, { event: 'Base' }, { adv_event_id: undefined }],
  'the type in any case, the id trimmed': [{}, { context: { referrer: { type: 'EverFlow', id: ` ${CLICK} ` } } }, {}],
  'a name with blanks around it': [{}, { event: ' Purchase ' }, {}],
  'total first': [{ value: 4, amount: 3, revenue: 2, total: 1 }, {}, { amount: '1' }],
  'then revenue': [{ value: 4, amount: 3, revenue: 2, total: null }, {}, { amount: '2' }],
  'then amount': [{ value: 4, amount: 3, total: '' }, {}, { amount: '3' }],
  'then value': [{ value: 4 }, {}, { amount: '4' }],
  'amount as text': [{ total: '12.5' }, {}, { amount: '12.5' }],
  'nothing that is an amount': [{ total: 'a lot' }, {}, {}],
  'large and small amounts without exponent': [{ total: 1e15 }, {}, { amount: '1000000000000000' }],
  'a zero is an amount': [{ total: 0 }, {}, { amount: '0' }],
  'order id': [{ order_id: 17, orderId: null }, {}, { order_id: '17' }],
  'orderId before order_id': [{ order_id: 'b', orderId: 'a' }, {}, { order_id: 'a' }],
  'all ten': [
    Object.fromEntries(Array.from({ length: 11 }, (_, i) => [`adv${i + 1}`, `v${i + 1}`])), {},
    Object.fromEntries(Array.from({ length: 10 }, (_, i) => [`adv${i + 1}`, `v${i + 1}`])),
  ],
  'values of any type': [{ adv1: true, adv2: 2.5, adv3: null, adv4: '', adv5: { a: 1 } }, {}, { adv1: 'true', adv2: '2.5' }],
  'coupon': [{ coupon: 'A', couponCode: 'B', coupon_code: 'C' }, {}, { coupon_code: 'A' }],
  'couponCode': [{ couponCode: 'B', coupon_code: 'C' }, {}, { coupon_code: 'B' }],
  'coupon_code': [{ coupon_code: 'C' }, {}, { coupon_code: 'C' }],
  'email': [{ email: 'a@b.example' }, { context: { traits: { email: 'c@d.example' } } }, { email: 'a@b.example' }],
  'email of the traits': [{}, { context: { traits: { email: 'c@d.example' } } }, { email: 'c@d.example' }],
  'bytes that mean something in a query': [{ adv1: 'a&b=c#d%e+f g/é☕\r\n' }, {}, { adv1: 'a&b=c#d%e+f g/é☕\r\n' }],
  'nobody': [{}, { userId: undefined, anonymousId: 'anon' }, { user_id: undefined }],
  'several clicks': [{}, { context: { referrer: { type: 'everflow', id: LONG } } }, { transaction_id: LONG.slice(0, 33) + LONG.slice(-297) }],
  'as many clicks as there may be': [
    {}, { context: { referrer: { type: 'everflow', id: LONG.slice(0, 332) } } }, { transaction_id: LONG.slice(0, 332) },
  ],
  'the sender says yes': [{}, { integrations: { All: false, Everflow: true } }, {}],
}

// Every row of the mapping, its order of fallbacks and its types, as the partner sees them.
test('rows of the mapping', async (t) => {
  const partner = await Everflow.start(t)
  const relay = await new Relay(t, { workers: 1, destinations: direct(partner, { sendTimestamp: false }) }).start()
  for (const [what, [properties, more, wanted]] of Object.entries(rows)) {
    const before = partner.requests.length
    await accepted(relay, [purchase(properties, { userId: 'u', ...more })])
    await partner.arrived(before + 1)
    const all = { nid: '7', transaction_id: CLICK, adv_event_id: '24', user_id: 'u', ...wanted }
    assert.deepEqual(partner.refused.map((r) => [what, r.url, r.answer.body]), [])
    assert.deepEqual(partner.conversions.at(-1), Object.fromEntries(Object.entries(all).filter(([, v]) => v !== undefined)), what)
  }
  await settled(relay, 'everflow', Object.keys(rows).length)
  assert.deepEqual(await relay.dead(), [])
})

// What every setting of the direct mode changes in a postback.
test('settings', async (t) => {
  const partner = await Everflow.start(t, { nid: '9', token: 'tok&n', more: ['client_ip'] })
  const relay = new Relay(t, {
    destinations: direct(partner, {
      postbackUrl: `${partner.url}/?nid=9&oid=12&sub1={sub1}&transaction_id={transaction_id}`,
      eventMapping: { 24: 'Purchase' },
      verificationToken: 'tok&n', advertiserId: '33', ipParam: 'client_ip', sendTimestamp: false,
    }),
  })
  await relay.start()
  await accepted(relay, [purchase({}, { context: { ip: '203.0.113.9' } })])
  await partner.arrived(1)
  assert.deepEqual(partner.refused, [])
  assert.deepEqual(partner.conversions, [{
    nid: '9', oid: '12', transaction_id: CLICK, adv_event_id: '24', aid: '33', user_id: 'user-1', client_ip: '203.0.113.9',
    verification_token: 'tok&n',
  }])
  await relay.stop()
  relay.config.destinations = direct(partner, {
    postbackUrl: undefined, trackingDomain: 'track.example.com', networkId: '9', baseUrl: partner.url, verificationToken: 'tok&n',
    advertiserId: '33', eventMapping: { Base: 0 },
  })
  await relay.start()
  await accepted(relay, [purchase({}, { event: 'Base' })])
  await partner.arrived(2)
  assert.deepEqual(partner.refused, [])
  assert.deepEqual(partner.conversions[1], {
    nid: '9', transaction_id: CLICK, user_id: 'user-1', timestamp: AT_SECONDS, verification_token: 'tok&n',
  })
  assert.equal(partner.requests[1].headers.host, `127.0.0.1:${partner.port}`)
})

const elsewhere = [
  purchase({}, { context: { referrer: undefined } }),
  purchase({}, { context: { referrer: { type: 'everflow' } } }),
  purchase({}, { context: { referrer: { type: 'everflow', id: '  ' } } }),
  { ...purchase(), context: [] },
  purchase({}, { context: { referrer: { type: 'impact', id: CLICK } } }),
  purchase({}, { event: 'purchase' }),
  purchase({}, { event: 'Order Completed' }),
]
const gated = [
  purchase({}, { integrations: { Everflow: false } }),
  purchase({}, { integrations: { All: false } }),
  { ...purchase(), type: 'identify', traits: { bought_twice: true } },
  { ...purchase(), type: 'page', name: 'Purchase' },
  { ...purchase(), type: 'screen', name: 'Purchase' },
  { ...purchase(), type: 'group', groupId: 'g' },
  { ...purchase(), type: 'alias', previousId: 'p' },
]

// Visitors of others, events that are not mapped, and other calls are ordinary traffic: nothing of them leaves.
for (const mode of ['direct', 'forward']) {
  test(`what does not concern Everflow, ${mode}`, async (t) => {
    const partner = await Everflow.start(t)
    const settings = mode === 'direct' ? {} : { mode, endpoint: `${partner.url}/segment` }
    const relay = await new Relay(t, { destinations: direct(partner, settings) }).start()
    await accepted(relay, [...elsewhere, ...gated].map((e, i) => ({ ...e, messageId: `m-${i}` })))
    await settled(relay, 'everflow', elsewhere.length + gated.length)
    assert.deepEqual(await skips(relay), { no_transaction_id: 4, other_referrer: 1, not_mapped: 2 })
    assert.deepEqual(partner.requests, [])
    assert.deepEqual(await relay.dead(), [])
  })
}

// A refusal, in a 200 or with a status of its own, is a dead letter with Everflow's words; the others are not touched by
// it, and the token is nowhere to be read.
test('refusals', async (t) => {
  const partner = await Everflow.start(t, { token: 'verification-token-value' })
  const relay = await new Relay(t, {
    destinations: direct(partner, { eventMapping: { Purchase: '24', Gone: '99' }, verificationToken: 'verification-token-value' }),
  }).start()
  await accepted(relay, [purchase({}, { event: 'Gone', messageId: 'gone' }), purchase({ orderId: 'good' })])
  const [dead] = await deadLetters(relay, 1)
  assert.deepEqual([dead.messageId, dead.attempts], ['gone', 1])
  assert.match((await relay.command('dead', 'show', String(dead.id))).stdout, /advertiser event 99 does not exist/)
  await settled(relay, 'everflow', 2)
  partner.script.push({ status: 400, headers: { 'content-type': 'application/json' }, body: '{"error":"no such offer"}' })
  await accepted(relay, [purchase({}, { messageId: 'refused' })])
  const [, other] = await deadLetters(relay, 2)
  assert.match(other.reason, /^http_400/)
  assert.deepEqual(partner.conversions.map((c) => c.order_id), ['good'])
  const shown = await relay.command('dead', 'show', String(other.id))
  assert.match(shown.stdout, /no such offer/)
  assert.doesNotMatch(shown.stdout + relay.log, /verification-token-value/)
})

// Too many requests, faults of the partner and a hasty end of the connection: it waits as told, and each conversion comes.
test('429, then 5xx, then all of them', async (t) => {
  const partner = await Everflow.start(t, { script: [{ status: 429, headers: { 'retry-after': '1' } }, { status: 500 }, { status: 503 }] })
  const relay = await new Relay(t, { workers: 1, destinations: direct(partner, {}, { concurrency: 1 }) }).start()
  await accepted(relay, [purchase({ orderId: 'o-1' })])
  const [first] = await partner.arrived(1)
  await accepted(relay, [purchase({ orderId: 'o-2' })])
  await until('both conversions', () => partner.conversions.length === 2)
  assert.ok(partner.requests[1].at - first.at >= 900, 'nothing is sent before the time that the partner named')
  await settled(relay, 'everflow', 2)
  assert.deepEqual(partner.conversions.map((c) => c.order_id).sort(), ['o-1', 'o-2'])
  assert.deepEqual([partner.requests.length, partner.refused.length], [5, 0])
  assert.deepEqual(await relay.dead(), [])
})

// kill -9 while half of the answers are out: after the restart every order has its conversion. A conversion that counts
// twice is only one whose answer was lost, and it carries the same order and click, by which Everflow knows it.
test('kill -9 in between', async (t) => {
  const partner = await Everflow.start(t)
  const take = partner.answer
  partner.answer = async (request, ...rest) => {
    const answer = await take(request, ...rest)
    return partner.conversions.length > 10 && !partner.revived ? 'hang' : answer
  }
  const relay = await new Relay(t, { destinations: direct(partner) }).start()
  const orders = Array.from({ length: 30 }, (_, i) => `o-${i}`)
  await accepted(relay, orders.map((orderId) => purchase({ orderId })))
  await until('answers hang', () => partner.conversions.length > 10)
  await relay.killAll()
  partner.revived = true
  await relay.start()
  await until('every order is there', () => new Set(partner.conversions.map((c) => c.order_id)).size === orders.length)
  await settled(relay, 'everflow', orders.length)
  assert.deepEqual(partner.refused, [])
  assert.equal(new Set(partner.conversions.map((c) => JSON.stringify(c))).size, orders.length, 'a repeat is the same conversion')
  const before = partner.requests.length
  await relay.restart()
  await accepted(relay, [purchase({ orderId: 'after' })])
  await partner.arrived(before + 1)
  await settled(relay, 'everflow', orders.length + 1)
  assert.equal(partner.requests.length, before + 1, 'an orderly restart repeats nothing')
  assert.deepEqual(await relay.dead(), [])
})

// The event whole to Everflow's own endpoint: its bytes with the normalised fields, the key as the user, the map in the
// header.
test('forward', async (t) => {
  const settings = { eventMapping: { Purchase: '24' } }
  const partner = await EventEndpoint.start(t, { apiKey: 'segment', settings, types: ['track'] })
  assert.equal(base64('segment:'), 'c2VnbWVudDo=')
  const relay = await new Relay(t, {
    destinations: { everflow: { settings: { ...settings, apiKey: 'segment', mode: 'forward', endpoint: partner.endpoint }, ...QUICK } },
  }).start()
  const start = `{"zeta":12345678901234567,"type":"track","event":"Purchase","messageId":"m","properties":{"total":76.0,"b":[],"a":{}},`
    + `"integrations":[],"context":{"referrer":{"id":"${CLICK}","type":"everflow"},"ip":"203.0.113.9"},"userId":"u","timestamp":"${AT}"`
  assert.equal((await send(relay, '/v1/track', { body: `${start}}` })).status, 200)
  const [request] = await partner.arrived(1)
  assert.deepEqual(partner.refused, [])
  assert.equal(request.headers.authorization, 'Basic c2VnbWVudDo=')
  assert.equal(request.headers['x-segment-settings'], base64('{"eventMapping":{"Purchase":"24"}}'))
  const { receivedAt } = JSON.parse(request.body)
  assert.equal(request.body, `${start},"originalTimestamp":"${AT}","receivedAt":"${receivedAt}"}`)
})

// What the endpoint says decides: a bad message and a type that it does not know are final, a fault is tried again, a bad
// key parks the destination and loses nothing.
test('forward: answers of the endpoint', async (t) => {
  const settings = { eventMapping: { Purchase: '24' } }
  const partner = await EventEndpoint.start(t, { apiKey: 'new key', settings, types: ['track'] })
  const destination = { settings: { ...settings, apiKey: 'new key', mode: 'forward', endpoint: partner.endpoint }, ...QUICK }
  const relay = await new Relay(t, { workers: 1, destinations: { everflow: destination } }).start()
  partner.script.push({ status: 503 }, { status: 429, headers: { 'retry-after': '1' } }, { status: 500 })
  await accepted(relay, [purchase({}, { messageId: 'm-0' })])
  await partner.arrived(4)
  assert.equal(partner.taken.length, 1)
  await settled(relay, 'everflow', 1)
  partner.script.push({ status: 400, body: '{"message":"no such order"}' })
  await accepted(relay, [purchase({}, { messageId: 'm-1' })])
  await deadLetters(relay, 1)
  partner.script.push({ status: 501, body: '{"message":"not here"}' })
  await accepted(relay, [purchase({}, { messageId: 'm-2' })])
  const dead = await deadLetters(relay, 2)
  assert.deepEqual(dead.map((d) => [d.messageId, d.status, d.attempts]).sort(), [['m-1', 400, 1], ['m-2', 501, 1]])
  partner.apiKey = 'changed'
  await accepted(relay, [purchase({}, { messageId: 'm-3' })])
  await until('it is parked', async () => (await relay.destination('everflow')).state === 'parked')
  partner.apiKey = 'new key'
  assert.equal((await relay.command('resume', 'everflow')).code, 0)
  await until('it is there', () => partner.taken.length === 2)
  assert.deepEqual(partner.taken.map((r) => JSON.parse(r.body).messageId), ['m-0', 'm-3'])
})
