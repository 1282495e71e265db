// The extole destination against a stand-in that judges by Extole's API reference.

import assert from 'node:assert/strict'
import test from 'node:test'

import { CUT, shown } from './lib/partner.mjs'
import { Relay, WRITE_KEY } from './lib/relay.mjs'
import { accepted, send, track } from './lib/sender.mjs'
import { EventEndpoint, json, settled } from './lib/standin.mjs'
import { until } from './lib/wait.mjs'
import { Extole, failure } from './partners/extole.mjs'

const TOKEN = 'extole-token'
const AT = '2026-01-02T03:04:05.678Z'
const QUICK = { retry: { first: '50ms', max: '300ms' } }
const SOURCES = [{ name: 'web', write_key: WRITE_KEY, allow_delete: true }]

async function start(t, settings = {}, { workers = 1, setUp = () => {}, ...more } = {}) {
  const partner = await Extole.start(t)
  setUp(partner)
  const relay = await new Relay(t, {
    workers, sources: SOURCES,
    destinations: { extole: { settings: { apiKey: TOKEN, baseUrl: partner.url, ...settings }, ...QUICK, ...more } },
  }).start()
  return { partner, relay }
}

function identify(userId, traits, more = {}) {
  return { type: 'identify', userId, traits, timestamp: AT, messageId: `identify-${userId}`, ...more }
}

function deletion(userId, more = {}) {
  return { type: 'delete', userId, messageId: `delete-${userId}`, channel: 'server', context: [], integrations: [], ...more }
}

function conversion(id) {
  return track('conversion', { messageId: `m-${id}`, timestamp: AT, properties: { partner_conversion_id: id, cart_value: '99.99' } })
}

function dataOf(partner, name) {
  return partner.events.filter((e) => e.event_name === name).map((e) => e.data)
}

// One event in exactly these bytes.
async function posted(relay, body) {
  const { type } = JSON.parse(body)
  const answer = await send(relay, `/v1/${type}`, { body })
  assert.equal(answer.status, 200, answer.body)
}

function forwarding(t, settings) {
  return new Relay(t, {
    sources: SOURCES, destinations: { extole: { settings: { apiKey: 'segment', mode: 'forward', ...settings }, ...QUICK } },
  }).start()
}

// One dead letter, and that it was tried once.
async function onlyDead(relay) {
  const dead = await until('a dead letter', async () => {
    const found = await relay.dead('--dest', 'extole')
    return found.length && found
  })
  assert.equal(dead.length, 1)
  assert.equal(dead[0].attempts, 1)
  return dead[0]
}

// Everything that Extole takes, to the asynchronous route, which has no limit. The rest of the spec is not its concern.
test('every type, mapped', async (t) => {
  const { partner, relay } = await start(t, { eventMapping: { 'Order Completed': 'conversion' } }, { workers: 2 })
  const person = { email: 'ann@example.test', first_name: 'Ann', last_name: 'Lee' }
  await accepted(relay, [
    identify('user-1', {
      email: ' ann@example.test ', firstName: 'Ann', lastName: 'Lee', plan: 'pro', points: 12, vip: true, left: false,
      address: { city: 'Oslo', zips: ['0150'] }, gone: null,
    }),
    track('registration', { timestamp: AT, properties: { ...person, partner_user_id: 'their-7' } }),
    track('conversion', { userId: 'user-2', timestamp: AT, properties: { ...person, partner_conversion_id: 'c-1', cart_value: '99.99' } }),
    track('Order Completed', {
      userId: 'user-3', timestamp: AT, properties: { order_id: 'o-9', total: 76.5, products: [{ sku: 's' }] },
      context: { traits: { email: 'bo@example.test', firstName: 'Bo', lastName: 'Ek' } },
    }),
    track('Some Thing', { userId: 'user-4', timestamp: AT, properties: { order_id: 'o-1', total: 1 } }),
    ...['page', 'screen', 'group', 'alias'].map((type) => ({ type, userId: 'user-1', groupId: 'g', previousId: 'p', name: 'N', messageId: type })),
    { type: 'identify', anonymousId: 'a', traits: { plan: 'free' }, messageId: 'nobody' },
  ])
  await settled(relay, 'extole', 10)
  assert.deepEqual(partner.refused, [])
  assert.equal(partner.events.length, 5)
  assert.deepEqual([...new Set(partner.events.map((e) => e.route))], ['async-events'])
  assert.deepEqual([...new Set(partner.events.map((e) => e.event_time))], [AT])
  assert.deepEqual(dataOf(partner, 'identify'), [{
    partner_user_id: 'user-1', ...person, plan: 'pro', points: 12, vip: true, left: false, address: { city: 'Oslo', zips: ['0150'] },
  }])
  assert.deepEqual(dataOf(partner, 'registration'), [{ ...person, partner_user_id: 'their-7' }])
  const conversions = dataOf(partner, 'conversion').sort((a, b) => (a.partner_user_id < b.partner_user_id ? -1 : 1))
  assert.deepEqual(conversions, [
    { ...person, partner_conversion_id: 'c-1', cart_value: '99.99', partner_user_id: 'user-2' },
    {
      order_id: 'o-9', total: 76.5, products: [{ sku: 's' }], partner_user_id: 'user-3', email: 'bo@example.test', first_name: 'Bo',
      last_name: 'Ek', partner_conversion_id: 'o-9', cart_value: 76.5,
    },
  ])
  assert.deepEqual(dataOf(partner, 'Some Thing'), [{ order_id: 'o-1', total: 1, partner_user_id: 'user-4' }])
  assert.equal(await relay.metric('tidegate_events_skipped_total', { destination: 'extole', reason: 'no_identity' }), 1)
  assert.equal(await relay.metric('tidegate_events_skipped_total', { destination: 'extole', reason: 'type_not_accepted' }), 4)
  assert.deepEqual(await relay.dead(), [])
})

// The request, whole: the token is in a header and nowhere else, and digits stay as they came.
test('the request, whole', async (t) => {
  const { partner, relay } = await start(t, { asyncEvents: false, labels: 'summer' })
  await posted(relay, `{"type":"track","event":"refer","userId":"u","messageId":"m","timestamp":"${AT}",`
    + '"properties":{"zeta":"é&=#%\\r\\n","card":12345678901234567,"total":76.0,"none":null,"empty":[],"a.b":{}}}')
  const [request] = await partner.arrived(1)
  await settled(relay, 'extole', 1)
  assert.deepEqual([request.method, request.url], ['POST', '/v6/events'])
  const { headers } = shown(request)
  assert.deepEqual(headers, {
    'authorization': `Bearer ${TOKEN}`, 'content-type': 'application/json', 'user-agent': 'tidegate/0.1.0', 'accept-encoding': 'gzip, deflate',
  })
  assert.match(request.body, /"card":12345678901234567[,}]/)
  assert.match(request.body, /"empty":\[\]/)
  assert.match(request.body, /"a.b":\{\}/)
  const { none, ...data } = JSON.parse(request.body).data
  assert.ok(none === undefined || none === null)
  assert.deepEqual(data, { 'zeta': 'é&=#%\r\n', 'card': Number('12345678901234567'), 'total': 76, 'empty': [], 'a.b': {}, 'labels': 'summer',
    'partner_user_id': 'u' })
})

// Erasure by the id, and the address where it is known. Somebody who is not there is erased already.
test('deletion', async (t) => {
  const { partner, relay } = await start(t)
  await accepted(relay, [identify('user-1', { email: 'ann@example.test' }), identify('user-2', { email: 'bo@example.test' })])
  await settled(relay, 'extole', 2)
  assert.equal(partner.people.size, 2)
  await accepted(relay, [deletion('user-1'), deletion('user-2', { email: 'bo@example.test' }), deletion('stranger')])
  await settled(relay, 'extole', 5)
  assert.equal(partner.people.size, 0)
  assert.deepEqual(partner.erasures.sort((a, b) => (a.note < b.note ? -1 : 1)), [
    { partner_user_id: 'user-1', note: 'delete-user-1' },
    { partner_user_id: 'user-2', email: 'bo@example.test', note: 'delete-user-2' },
  ])
  assert.deepEqual(partner.refused.map((r) => r.answer.status), [404])
  assert.deepEqual(await relay.dead(), [])
  assert.equal(await relay.metric('tidegate_events_delivered_total', { destination: 'extole' }), 5)
})

// A token that may not erase: each of those events is a dead letter by itself, and events go on.
test('a token that cannot erase', async (t) => {
  const { partner, relay } = await start(t, {}, { setUp: (p) => p.tokens.set(TOKEN, ['events']) })
  await accepted(relay, [deletion('user-1'), deletion('user-2'), deletion('user-3')])
  await settled(relay, 'extole', 3)
  await accepted(relay, [conversion('c-1')])
  await settled(relay, 'extole', 4)
  const dead = await relay.dead('--dest', 'extole')
  assert.deepEqual(dead.map((d) => d.messageId).sort(), ['delete-user-1', 'delete-user-2', 'delete-user-3'])
  for (const { reason, attempts } of dead) {
    assert.match(reason, /scopes_denied.*lacks a scope/)
    assert.equal(attempts, 1)
  }
  assert.equal(partner.events.length, 1)
})

// A token that has run out parks: nothing is lost, and a reload with the new one delivers.
test('an expired token', async (t) => {
  const { partner, relay } = await start(t, {}, { setUp: (p) => p.expired.add(TOKEN) })
  await accepted(relay, [conversion('c-1'), conversion('c-2')])
  await until('it is parked', async () => (await relay.destination('extole')).state === 'parked')
  partner.tokens.set('extole-token-2', ['events'])
  relay.config.destinations.extole.settings.apiKey = 'extole-token-2'
  relay.write()
  const { code, stderr } = await relay.command('reload')
  assert.deepEqual([code, stderr], [0, ''])
  await settled(relay, 'extole', 2)
  assert.deepEqual(dataOf(partner, 'conversion').map((d) => d.partner_conversion_id).sort(), ['c-1', 'c-2'])
  assert.deepEqual(await relay.dead(), [])
})

// What Extole refuses is a dead letter with its code, tried once; the events around it are done.
test('a blocked event', async (t) => {
  const { partner, relay } = await start(t, {}, { setUp: (p) => p.blocked.add('secret offer') })
  await accepted(relay, [conversion('c-1'), track('secret offer', { messageId: 'm-bad' }), conversion('c-2')])
  await settled(relay, 'extole', 3)
  const { messageId, reason, status } = await onlyDead(relay)
  assert.deepEqual([messageId, status], ['m-bad', 400])
  assert.match(reason, /event_blocked.*secret offer is blocked/)
  assert.equal(partner.events.length, 2)
})

// Answers that no other try would change. 204 is another service's, and a failure may hide in a header.
const permanent = {
  'no payment': [failure(402, 'payment_required', 'the plan has ended'), /payment_required/],
  'another media type': [failure(415, 'unsupported_media_type', 'no'), /unsupported_media_type/],
  'not the Events API': [{ status: 204 }, /not_the_events_api/],
  'a failure in a header': [json(200, {}, { 'X-Extole-Error-Message': 'program is closed' }), /extole_error[^]*program is closed/],
}
for (const [what, [answer, words]] of Object.entries(permanent)) {
  test(`for good: ${what}`, async (t) => {
    const { partner, relay } = await start(t, {}, { setUp: (p) => p.script.push(answer) })
    await accepted(relay, [conversion('c-1')])
    const { id } = await onlyDead(relay)
    assert.match((await relay.command('dead', 'show', String(id))).stdout, words)
    await accepted(relay, [conversion('c-2')])
    await settled(relay, 'extole', 2)
    assert.deepEqual(dataOf(partner, 'conversion').map((d) => d.partner_conversion_id), ['c-2'])
    assert.equal(partner.requests.length, 2)
  })
}

// Answers that pass: the same bytes again until they are taken.
test('failures that pass', async (t) => {
  const busy = failure(429, 'too_many_requests', 'the queue is full')
  const { partner, relay } = await start(t, {}, { setUp: (p) => p.script.push(failure(500, 'software_error', 'x'), busy, CUT, { status: 503 }) })
  await accepted(relay, [conversion('c-1')])
  await settled(relay, 'extole', 1)
  assert.equal(partner.requests.length, 5)
  assert.equal(new Set(partner.requests.map((r) => r.body)).size, 1)
  assert.equal(partner.events.length, 1)
  assert.deepEqual(await relay.dead(), [])
})

// Retry-After holds back every event of the destination.
test('429 with Retry-After', async (t) => {
  const seconds = 3
  const { partner, relay } = await start(t, {}, {
    setUp: (p) => p.script.push({ ...failure(429, 'too_many_requests', 'wait'), headers: { 'retry-after': String(seconds) } }),
  })
  await accepted(relay, [conversion('c-1')])
  await relay.says('destination waits, as the partner asks') // the status may be asked when that is over
  const [first] = partner.requests
  await accepted(relay, [conversion('c-2')])
  const requests = await partner.arrived(3)
  for (const { at } of requests.slice(1)) assert.ok(at - first.at >= seconds * 1000 - 100, `${at - first.at} ms after the 429`)
  await settled(relay, 'extole', 2)
  assert.equal(partner.events.length, 2)
})

// The synchronous route takes 100 requests a minute of one token, all workers together. The relay keeps to that by itself:
// after the first nine each takes its share of a minute of 90. Of one person it takes 10 a second; they are of many here,
// for a busy machine may hand over within one second what was sent within two.
test('100 requests a minute', async (t) => {
  const { partner, relay } = await start(t, { asyncEvents: false }, { workers: 2 })
  const begin = Date.now()
  await Promise.all(Array.from({ length: 30 }, (_, i) => accepted(relay, [{ ...conversion(`c-${i}`), userId: `user-${i}` }])))
  const requests = await partner.arrived(15)
  const ms = requests[14].at - begin
  assert.ok(ms >= (15 - 9) / 1.5 * 1000, `15 requests within ${ms} ms`)
  assert.deepEqual(partner.refused, [])
})

// The asynchronous route has no limit: nothing holds these back, not 100 a minute.
test('more than 100 a minute', async (t) => {
  const { partner, relay } = await start(t, {}, { workers: 2 })
  await Promise.all(Array.from({ length: 150 }, (_, i) => accepted(relay, [conversion(`c-${i}`)])))
  await until('all have come', () => partner.events.length === 150)
  const [first, last] = [partner.requests[0], partner.requests.at(-1)]
  assert.ok(last.at - first.at < 60_000, 'a limit of 100 would take more than a minute')
})

// With publicParameters = "profile" every other trait becomes public data of the person, one call each; what is there
// already is replaced. A failure in the middle does not send the event again.
for (const personIdsAreNumbers of [false, true]) {
  test(`public parameters of a person, ids as ${personIdsAreNumbers ? 'numbers' : 'texts'}`, async (t) => {
    const { partner, relay } = await start(t, { publicParameters: 'profile' }, {
      setUp: (p) => Object.assign(p, { personIdsAreNumbers }),
    })
    let broken = 0
    const own = partner.answer
    partner.answer = (r) => (r.path.startsWith('/v5/') && broken++ === 1 ? failure(500, 'software_error', 'x') : own(r))
    await accepted(relay, [identify('user-1', { email: 'ann@example.test', firstName: 'Ann', plan: 'pro', vip: true })])
    await settled(relay, 'extole', 1)
    assert.deepEqual(partner.events.map((e) => [e.route, e.event_name]), [['events', 'identify']])
    const [person] = partner.people.values()
    assert.deepEqual(Object.fromEntries(person.data), { plan: { value: 'pro', scope: 'PUBLIC' }, vip: { value: true, scope: 'PUBLIC' } })
    await accepted(relay, [identify('user-1', { email: 'ann@example.test', plan: 'max' }, { messageId: 'second' })])
    await settled(relay, 'extole', 2)
    assert.deepEqual(person.data.get('plan'), { value: 'max', scope: 'PUBLIC' })
    assert.equal(partner.people.size, 1)
    assert.deepEqual(partner.refused.map((r) => JSON.parse(r.answer.body).code), ['data_already_exists'])
    assert.deepEqual(await relay.dead(), [])
  })
}

// Audience traits of Engage are traits like others, true and false.
test('audiences', async (t) => {
  const { partner, relay } = await start(t)
  const traits = { order_completed_last_30days: true, big_spenders: false }
  await accepted(relay, [identify('user-1', traits, {
    integrations: { All: false, 'Extole Platform': true },
    context: { personas: { computation_class: 'audience', computation_key: 'big_spenders', namespace: 'spa_1' } },
  })])
  await settled(relay, 'extole', 1)
  assert.deepEqual(dataOf(partner, 'identify'), [{ partner_user_id: 'user-1', ...traits }])
  assert.deepEqual(await relay.dead(), [])
})

// SIGKILL of everything while events go out, and while Extole is away: each conversion is there in the end, once.
test('kills', async (t) => {
  const { partner, relay } = await start(t, {}, { workers: 2 })
  const ids = Array.from({ length: 60 }, (_, i) => `c-${i}`)
  await Promise.all(ids.slice(0, 40).map((id) => accepted(relay, [conversion(id)])))
  await partner.arrived(5)
  await relay.killAll()
  await partner.stop()
  await relay.start()
  await Promise.all(ids.slice(40).map((id) => accepted(relay, [conversion(id)])))
  await relay.killAll()
  await partner.start()
  await relay.start()
  await until('all are there', () => partner.events.length === ids.length, { seconds: 60 }) // the breaker may be open
  await settled(relay, 'extole', ids.length)
  assert.deepEqual(dataOf(partner, 'conversion').map((d) => d.partner_conversion_id).sort(), [...ids].sort())
  assert.deepEqual(await relay.dead(), [])
})

// Forward mode: each event whole, its own bytes, with Segment's credentials, for the three types that Extole takes.
test('forward', async (t) => {
  const endpoint = await EventEndpoint.start(t, { apiKey: 'segment', types: ['identify', 'track', 'delete'] })
  const relay = await forwarding(t, { endpoint: endpoint.endpoint })
  endpoint.script.push({ status: 503 }, failure(429, 'too_many_requests', 'wait'))
  const events = [
    `{"zeta":12345678901234567,"type":"identify","userId":"u","messageId":"i","timestamp":"${AT}","traits":{"z":76.0,"a":[],"audience_x":true}`,
    `{"type":"track","event":"E","userId":"u","messageId":"t","timestamp":"${AT}","properties":[],"context":{}`,
    `{"type":"delete","userId":"u","messageId":"d","timestamp":"${AT}","context":[],"integrations":[]`,
  ]
  for (const start of events) await posted(relay, `${start}}`)
  await posted(relay, '{"type":"page","userId":"u","messageId":"p"}')
  await settled(relay, 'extole', 4)
  assert.deepEqual(endpoint.refused, [])
  assert.equal(endpoint.requests.length, 5)
  for (const { body, headers } of endpoint.taken) {
    assert.equal(headers.authorization, 'Basic c2VnbWVudDo=')
    assert.equal(headers['user-agent'], 'tidegate/0.1.0')
    const { receivedAt } = JSON.parse(body)
    assert.ok(events.some((start) => body === `${start},"originalTimestamp":"${AT}","receivedAt":"${receivedAt}"}`), body)
  }
  assert.deepEqual(await relay.dead(), [])
})

// A prehandler at Extole takes any body under a named event, but wants the bearer token.
test('forward to a named event', async (t) => {
  const partner = await Extole.start(t)
  partner.tokens.set('segment', ['events'])
  const relay = await forwarding(t, { endpoint: `${partner.url}/v6/async-events/segment`, forwardAuth: 'bearer' })
  await accepted(relay, [track('E', { messageId: 'm' })])
  await settled(relay, 'extole', 1)
  assert.deepEqual(partner.refused, [])
  assert.deepEqual(partner.events.map((e) => [e.event_name, e.data.event, e.data.messageId]), [['segment', 'E', 'm']])
})
