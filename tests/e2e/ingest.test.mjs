// What senders may ask for and exactly what they are answered.

import assert from 'node:assert/strict'
import { rmSync } from 'node:fs'
import { join } from 'node:path'
import test from 'node:test'
import { deflateSync, gzipSync } from 'node:zlib'

import { Partner } from './lib/partner.mjs'
import { Relay, WRITE_KEY } from './lib/relay.mjs'
import { accepted, basic, raw, send, track } from './lib/sender.mjs'
import { settled } from './lib/standin.mjs'
import { until } from './lib/wait.mjs'

const SUCCESS = '{"success":true}'
const ORIGIN = 'https://shop.example'

function hook(partner, more = {}) {
  return { script: 'webhook', settings: { url: `${partner.url}/in` }, ...more }
}

async function relayAndPartner(t, config = {}) {
  const partner = await Partner.start(t)
  const relay = await new Relay(t, { destinations: { hook: hook(partner) }, ...config }).start()
  return { partner, relay }
}

function failure(code, message) {
  return JSON.stringify({ success: false, code, message, error: message })
}

// An answer as it came, without the one line that differs from run to run.
function withoutDate(text) {
  return text.replace(/^Date: \w{3}, \d\d \w{3} \d{4} \d\d:\d\d:\d\d GMT\r\n/m, '')
}

function lastByteOf(body) {
  return (text) => text.endsWith(body)
}

// Every route of every SDK family takes an event of its type; what arrives says which.
test('each route takes its events', async (t) => {
  const { partner, relay } = await relayAndPartner(t)
  const names = { track: 't', identify: 'i', page: 'p', screen: 's', group: 'g', alias: 'a' }
  const ids = { userId: 'u', groupId: 'g', previousId: 'p', event: 'E' }
  const expected = []
  for (const [type, short] of Object.entries(names)) {
    const paths = [`/v1/${type}`, `/v1/${short}`, `/${type}`, `/${short}`, `/v1/${type}/`, `/api/s/${type}`, `/api/s/s2s/${type}`]
    for (const path of paths) {
      const messageId = `${path} of ${type}`
      const answer = await send(relay, path, { body: { ...ids, messageId } })
      assert.deepEqual([answer.status, answer.body], [200, SUCCESS], path)
      expected.push(`${type} ${messageId}`)
    }
  }
  for (const path of ['/v1/batch', '/v1/b', '/batch', '/b', '/v1/import', '/v1/import/', '/v1/batch/b',
    '/beacon/v1/batch', '/api/s/s2s/batch']) {
    const answer = await send(relay, path, { body: { batch: [{ ...ids, type: 'track', messageId: path }] } })
    assert.deepEqual([answer.status, answer.body], [200, SUCCESS], path)
    expected.push(`track ${path}`)
  }
  await partner.arrived(expected.length)
  assert.deepEqual(partner.events().map((e) => `${e.type} ${e.messageId}`).sort(), expected.sort())
})

// The write key is found in a header, in the query and in the body, also as its last member; a header wins.
test('the write key in each of its places', async (t) => {
  const { relay } = await relayAndPartner(t)
  const event = { userId: 'u', event: 'E' }
  const places = [
    { headers: { authorization: basic() } },
    { headers: { authorization: `Basic ${Buffer.from(WRITE_KEY).toString('base64')}` } },
    { headers: { 'x-write-key': WRITE_KEY } },
    { query: `?writeKey=${WRITE_KEY}` },
    { body: { ...event, writeKey: WRITE_KEY } },
    { headers: { authorization: 'Bearer some.jwt.token' }, body: { ...event, writeKey: WRITE_KEY } },
    { headers: { 'x-write-key': WRITE_KEY }, body: { writeKey: 'abc:***', ...event } },
  ]
  for (const place of places) {
    const answer = await send(relay, `/v1/track${place.query ?? ''}`, { key: null, headers: place.headers, body: place.body ?? event })
    assert.deepEqual([answer.status, answer.body], [200, SUCCESS], JSON.stringify(place))
  }
  const refused = [
    [{}, failure('missing_write_key', 'no write key: send it as Basic user name, X-Write-Key, ?writeKey= or in the body')],
    [{ headers: { authorization: basic('wrong') } }, failure('unknown_write_key', 'no source has this write key')],
    [{ headers: { 'x-write-key': 'wrong' }, body: { ...event, writeKey: WRITE_KEY } },
      failure('unknown_write_key', 'no source has this write key')],
  ]
  for (const [place, body] of refused) {
    const answer = await send(relay, '/v1/track', { key: null, headers: place.headers, body: place.body ?? event })
    assert.deepEqual([answer.status, answer.body], [401, body], JSON.stringify(place))
  }
})

// A disabled source, a foreign origin and a deletion that nobody allowed are refused with their own words.
test('sources refuse what they do not allow', async (t) => {
  const { partner, relay } = await relayAndPartner(t, {
    sources: [
      { name: 'web', write_key: WRITE_KEY, allowed_origins: [ORIGIN] },
      { name: 'old', write_key: 'old-key', enabled: false },
      { name: 'back', write_keys: ['back-1', 'back-2'], allow_delete: true },
    ],
  })
  const event = { userId: 'u', event: 'E', messageId: 'from the shop' }
  const cases = [
    ['/v1/track', { key: 'old-key' }, 401, 'source_disabled'],
    ['/v1/track', { headers: { origin: 'https://evil.example' } }, 403, 'origin_not_allowed'],
    ['/v1/track', { headers: { origin: ORIGIN } }, 200],
    ['/v1/delete', {}, 403, 'delete_not_allowed'],
    ['/v1/delete', { key: 'back-1', headers: { origin: ORIGIN } }, 403, 'delete_not_allowed'],
    ['/v1/delete', { key: 'back-2' }, 200],
  ]
  for (const [path, options, status, code] of cases) {
    const answer = await send(relay, path, { body: { ...event, messageId: `${event.messageId} ${path}` }, ...options })
    assert.equal(answer.status, status, answer.body)
    assert.equal(JSON.parse(answer.body).code, code)
  }
  await partner.arrived(2)
  assert.deepEqual(partner.events().map((e) => e.type).sort(), ['delete', 'track'])
})

// Any content type, gzip, deflate, chunks of any size without a length: the same event arrives.
test('bodies in every dress', async (t) => {
  const { partner, relay } = await relayAndPartner(t)
  const text = (messageId) => JSON.stringify({ batch: [track('E', { messageId, properties: { big: 'x'.repeat(20000) } })] })
  const ways = {
    plain: [{}, (b) => b],
    'text/plain': [{ 'content-type': 'text/plain' }, (b) => b],
    'gzip as form': [{ 'content-type': 'application/x-www-form-urlencoded', 'content-encoding': 'gzip' }, gzipSync],
    deflate: [{ 'content-encoding': 'deflate' }, deflateSync],
    'chunked gzip': [{ 'content-encoding': 'gzip', 'transfer-encoding': 'chunked' }, gzipSync],
  }
  for (const [name, [headers, dress]] of Object.entries(ways)) {
    const answer = await send(relay, '/v1/batch', { headers, body: dress(text(name)) })
    assert.deepEqual([answer.status, answer.body], [200, SUCCESS], name)
  }
  // Kotlin: all of it at once, and no header that says who it is.
  const kotlin = JSON.stringify({ batch: [track('E', { messageId: 'Kotlin' })], sentAt: '2026-01-02T03:04:06.000Z', writeKey: WRITE_KEY })
  const mobile = await send(relay, '/v1/b', {
    key: null, headers: { 'content-type': 'text/plain', 'content-encoding': 'gzip', 'transfer-encoding': 'chunked' }, body: gzipSync(kotlin),
  })
  assert.deepEqual([mobile.status, mobile.body], [200, SUCCESS])
  const body = text('chunks of one byte')
  const chunks = [...Buffer.from(body)].map((b) => Buffer.concat([Buffer.from('1\r\n'), Buffer.from([b]), Buffer.from('\r\n')]))
  const head = `POST /v1/b HTTP/1.1\r\nHost: x\r\nAuthorization: ${basic()}\r\nTransfer-Encoding: chunked\r\n\r\n`
  const answer = await raw(relay, [head, Buffer.concat(chunks), '0\r\n\r\n'], { enough: lastByteOf(SUCCESS) })
  assert.match(answer, /^HTTP\/1\.1 200 OK\r\n/)
  await partner.arrived(7)
  assert.deepEqual(partner.messageIds().sort(), [...Object.keys(ways), 'Kotlin', 'chunks of one byte'].sort())
})

// Batches as large as the SDKs fill them pass with the defaults, with the write key behind all of it where an SDK puts it
// there: nothing is bounced that a vendor's own endpoint would take.
test('the largest batches of SDKs', async (t) => {
  const { partner, relay } = await relayAndPartner(t)
  const batches = {
    'Python, Kotlin: 475 kB, key last': [475_000, 100, { sentAt: '2026-01-02T03:04:06.000000+00:00', writeKey: WRITE_KEY }, { key: null }],
    'Ruby: 512 kB of events and the envelope': [512_000, 100, {}, {}],
    'Segment: 2500 events': [2500 * 180, 2500, {}, {}],
    'RudderStack: 3.9 MB, gzip': [3_900_000, 130, {}, { gzip: true }],
    'an event above 32 KiB, which some only warn of': [300_000, 1, {}, {}],
  }
  let wanted = 0
  for (const [name, [bytes, n, envelope, { gzip, ...options }]] of Object.entries(batches)) {
    const event = (i) => track('Full', { messageId: `${name} ${i}`.slice(-90), properties: { text: '' } })
    const padding = Math.max(0, Math.floor(bytes / n) - JSON.stringify(event(0)).length)
    const text = JSON.stringify({ batch: Array.from({ length: n }, (_, i) => ({ ...event(i), properties: { text: 'x'.repeat(padding) } })), ...envelope })
    assert.ok(text.length > bytes * 0.95, `${name}: ${text.length}`)
    const answer = await send(relay, '/v1/batch', { ...options, body: gzip ? gzipSync(text) : text, headers: gzip ? { 'content-encoding': 'gzip' } : {} })
    assert.deepEqual([answer.status, answer.body], [200, SUCCESS], name)
    wanted += n
  }
  assert.equal(await relay.metric('tidegate_events_accepted_total', { source: 'web' }), wanted)
  assert.equal(await relay.metric('tidegate_events_rejected_total'), 0)
  await until('they arrive', () => new Set(partner.messageIds()).size === wanted, { seconds: 60 })
})

// Success, byte for byte; without an Origin there is no word of one.
test('the answer to an event, byte for byte', async (t) => {
  const { relay } = await relayAndPartner(t)
  const body = JSON.stringify(track('E'))
  const ask = (more) => raw(relay, `POST /v1/t HTTP/1.1\r\nHost: relay.example\r\nAuthorization: ${basic()}\r\n${more}Content-Length: ${body.length}\r\n\r\n${body}`,
    { enough: lastByteOf(SUCCESS) })
  assert.equal(withoutDate(await ask('')),
    'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 16\r\nVary: Origin\r\n\r\n' + SUCCESS)
  assert.equal(withoutDate(await ask(`Origin: ${ORIGIN}\r\n`)),
    'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 16\r\nVary: Origin\r\n'
    + `Access-Control-Allow-Origin: ${ORIGIN}\r\nAccess-Control-Allow-Credentials: true\r\n`
    + 'Access-Control-Expose-Headers: Retry-After\r\n\r\n' + SUCCESS)
})

// Requests that cannot be taken are answered with a status, a code and a sentence, and browsers may read it.
test('errors, and their CORS headers', async (t) => {
  const { relay } = await relayAndPartner(t, { limits: { body: '4KiB', event: '2KiB', headers: '2KiB' } })
  const big = JSON.stringify({ batch: [track('E', { properties: { big: 'x'.repeat(5000) } })] })
  const cases = [
    ['bad JSON', '/v1/batch', { body: '{"batch":[' }, 400, 'invalid_json'],
    ['not an object', '/v1/batch', { body: '[]' }, 400, 'invalid_request'],
    ['batch is no array', '/v1/batch', { body: '{"batch":{}}' }, 400, 'invalid_batch'],
    ['too deep', '/v1/track', { body: '{"a":'.repeat(500) }, 400, 'json_too_deep'],
    ['not gzip', '/v1/batch', { body: 'plain', headers: { 'content-encoding': 'gzip' } }, 400, 'invalid_compression'],
    ['half a gzip', '/v1/batch', { body: gzipSync(big.slice(0, 3000)).subarray(0, 20), headers: { 'content-encoding': 'gzip' } }, 400, 'invalid_compression'],
    ['unknown encoding', '/v1/batch', { body: 'x', headers: { 'content-encoding': 'br' } }, 415, 'unsupported_encoding'],
    ['too large', '/v1/batch', { body: big }, 400, 'payload_too_large'],
    ['too large once inflated', '/v1/batch', { body: gzipSync(big), headers: { 'content-encoding': 'gzip' } }, 400, 'payload_too_large'],
    ['large headers', '/v1/batch', { body: '{}', headers: { 'x-large': 'x'.repeat(3000) } }, 431, 'headers_too_large'],
    ['no such path', '/v1/unknown', { body: '{}' }, 404, 'not_found'],
    ['wrong method', '/v1/track', { method: 'GET' }, 405, 'method_not_allowed'],
    ['unknown key', '/v1/track', { key: 'wrong', body: '{}' }, 401, 'unknown_write_key'],
  ]
  for (const [name, path, options, status, code] of cases) {
    const headers = { ...options.headers, origin: ORIGIN }
    const answer = await send(relay, path, { ...options, headers })
    assert.equal(answer.status, status, `${name}: ${answer.body}`)
    assert.equal(answer.headers['content-type'], 'application/json', name)
    const body = JSON.parse(answer.body)
    assert.deepEqual(Object.keys(body), ['success', 'code', 'message', 'error'], name)
    assert.deepEqual([body.success, body.code, body.error], [false, code, body.message], name)
    assert.notEqual(body.message, '', name)
    if (code === 'headers_too_large') continue // refused before its Origin is known for sure
    assert.equal(answer.headers['access-control-allow-origin'], ORIGIN, name)
    assert.equal(answer.headers['access-control-expose-headers'], 'Retry-After', name)
  }
  assert.equal(await relay.metric('tidegate_ingest_refused_total'), cases.length)
})

// A preflight is answered on every path with what it asked for, mirrored.
test('preflight', async (t) => {
  const { relay } = await relayAndPartner(t)
  for (const path of ['/v1/t', '/v1/batch', '/v1/projects/x/settings', '/sourceConfig/', '/nothing']) {
    const answer = await send(relay, path, {
      method: 'OPTIONS', key: null,
      headers: { origin: ORIGIN, 'access-control-request-method': 'POST', 'access-control-request-headers': 'authorization,x-retry-count' },
    })
    assert.equal(answer.status, 204, path)
    assert.equal(answer.body, '')
    assert.equal(answer.headers['access-control-allow-origin'], ORIGIN)
    assert.equal(answer.headers['access-control-allow-headers'], 'authorization,x-retry-count')
    assert.equal(answer.headers['access-control-allow-methods'], 'GET, POST, OPTIONS')
    assert.equal(answer.headers['access-control-allow-credentials'], 'true')
    assert.equal(answer.headers['access-control-max-age'], '7200')
    assert.equal(answer.headers.vary, 'Origin')
  }
})

// Browser SDKs boot from their settings, which name this relay; RudderStack's from its source configuration.
test('settings for browsers', async (t) => {
  const { relay } = await relayAndPartner(t)
  for (const path of [`/v1/projects/${WRITE_KEY}/settings`, `/projects/${WRITE_KEY}/settings`]) {
    const answer = await send(relay, path, { method: 'GET', key: null, headers: { origin: ORIGIN, host: 'relay.example' } })
    assert.equal(answer.status, 200)
    assert.equal(answer.headers['access-control-allow-origin'], ORIGIN)
    assert.deepEqual(JSON.parse(answer.body), {
      integrations: { 'Segment.io': { apiKey: WRITE_KEY, apiHost: 'relay.example/v1', protocol: 'http' } },
      plan: { track: { __default: { enabled: true } } },
      metrics: { sampleRate: 0 },
    })
  }
  const source = JSON.parse((await send(relay, `/sourceConfig/?p=npm&v=3.34.1&writeKey=${WRITE_KEY}`, { method: 'GET' })).body)
  assert.deepEqual([source.source.enabled, source.source.writeKey, source.source.destinations], [true, WRITE_KEY, []])
  const unknown = await send(relay, '/v1/projects/nobody/settings', { method: 'GET', key: null, headers: { origin: ORIGIN } })
  assert.equal(unknown.status, 401)
  assert.equal(unknown.headers['access-control-allow-origin'], ORIGIN)
})

// public_url, when it is set, is what browsers are told.
test('settings tell the public address', async (t) => {
  const { relay } = await relayAndPartner(t, { public_url: 'https://events.example/relay' })
  const answer = await send(relay, `/v1/projects/${WRITE_KEY}/settings`, { method: 'GET', key: null })
  const { apiHost, protocol } = JSON.parse(answer.body).integrations['Segment.io']
  assert.deepEqual([apiHost, protocol], ['events.example/relay/v1', 'https'])
  relay.config.public_url = 'http://other.example:8080/'
  relay.write()
  assert.equal((await relay.command('reload')).code, 0)
  const after = await send(relay, `/v1/projects/${WRITE_KEY}/settings`, { method: 'GET', key: null })
  assert.deepEqual(JSON.parse(after.body).integrations['Segment.io'],
    { apiKey: WRITE_KEY, apiHost: 'other.example:8080/v1', protocol: 'http' })
  relay.config.public_url = 'relay.example'
  relay.write()
  assert.match((await relay.command('check')).stderr, /^public_url: /)
})

// A page's snippet loads its script from the relay, whose configuration has it; a reload brings the next one.
test('the script that pages load', async (t) => {
  const { relay } = await relayAndPartner(t)
  const path = `/analytics.js/v1/${WRITE_KEY}/analytics.min.js`
  const get = (headers = {}) => send(relay, path, { method: 'GET', key: null, headers })
  assert.equal((await get()).status, 404)
  relay.config.analytics_js = 'first()'
  relay.write()
  assert.equal((await relay.command('reload')).code, 0)
  const first = await get()
  assert.deepEqual([first.status, first.body, first.headers['content-type']], [200, 'first()', 'text/javascript; charset=utf-8'])
  const again = await get({ 'if-none-match': first.headers.etag })
  assert.deepEqual([again.status, again.body], [304, ''])
  relay.config.analytics_js = 'second()'
  relay.write()
  assert.equal((await relay.command('reload')).code, 0)
  assert.equal((await get({ 'if-none-match': first.headers.etag })).body, 'second()')
})

// A pixel gets its picture whatever happens, and its event arrives, from base64 and from flat parameters.
test('pixels', async (t) => {
  const { partner, relay } = await relayAndPartner(t)
  const data = Buffer.from(JSON.stringify({ writeKey: WRITE_KEY, userId: 'u', event: 'Opened ?>', messageId: 'coded' }))
    .toString('base64url')
  const paths = [
    `/v1/pixel/track?data=${data}`,
    `/pixel/v1/track?userId=u&event=Flat&messageId=flat&properties.subject=A%20b&properties.deep.er=1&writeKey=${WRITE_KEY}`,
    `/api/px/page?userId=u&messageId=paged&writeKey=${WRITE_KEY}`,
    '/v1/pixel/track?data=%%%',
    '/v1/pixel/track?userId=u&event=Flat&writeKey=wrong',
    '/v1/pixel/track',
  ]
  for (const path of paths) {
    const text = await raw(relay, `GET ${path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n`)
    const [head, body] = text.split('\r\n\r\n')
    assert.match(head, /^HTTP\/1\.1 200 OK\r\n/, path)
    assert.match(head, /Content-Type: image\/gif/, path)
    assert.match(body, /^GIF89a.*;$/s, path)
    assert.equal(body.length, 43, path)
  }
  await partner.arrived(3)
  const byId = Object.fromEntries(partner.events().map((e) => [e.messageId, e]))
  assert.equal(byId.coded.event, 'Opened ?>')
  assert.deepEqual(byId.flat.properties, { subject: 'A b', deep: { er: '1' } })
  assert.equal(byId.paged.type, 'page')
})

// A bad event in a good batch is set aside with its reason; the good ones arrive, the answer is success.
test('a bad event becomes a dead letter of its source', async (t) => {
  const { partner, relay } = await relayAndPartner(t, { limits: { event: '2KiB' } })
  const bad = {
    'no-event': { type: 'track', userId: 'u' },
    'no-user': { type: 'identify', traits: {} },
    'no-type': { userId: 'u', event: 'E' },
    'odd-type': { type: 'explode', userId: 'u' },
    'no-group': { type: 'group', userId: 'u' },
    'no-previous': { type: 'alias', userId: 'u' },
    'odd-context': { type: 'page', userId: 'u', context: 'text' },
    'too-large': { type: 'page', userId: 'u', properties: { x: 'y'.repeat(3000) } },
    deletion: { type: 'delete', userId: 'u' },
  }
  const items = Object.entries(bad).map(([messageId, e]) => ({ messageId, ...e }))
  const batch = [track('Good', { messageId: 'good-1' }), ...items, track('Good', { messageId: 'good-2' })]
  await accepted(relay, batch)
  assert.deepEqual([(await send(relay, '/v1/batch', { body: '{"batch":["text"]}' })).body], [SUCCESS])
  await partner.arrived(2)
  assert.deepEqual(partner.messageIds().sort(), ['good-1', 'good-2'])
  const dead = await until('all are set aside', async () => {
    const found = await relay.dead('--set-aside')
    return found.length === items.length + 1 && found
  })
  const reasons = Object.fromEntries(dead.map((d) => [d.messageId, d.reason.split(':')[0]]))
  assert.deepEqual(reasons, {
    'no-event': 'missing_event', 'no-user': 'missing_user_id', 'no-type': 'missing_type', 'odd-type': 'invalid_type',
    'no-group': 'missing_group_id', 'no-previous': 'missing_previous_id', 'odd-context': 'invalid_context',
    'too-large': 'event_too_large', deletion: 'delete_not_allowed', null: 'not_an_object',
  })
  const one = dead.find((d) => d.messageId === 'no-event')
  assert.deepEqual(Object.keys(one),
    ['id', 'destination', 'messageId', 'source', 'reason', 'status', 'attempts', 'first', 'last', 'event'])
  assert.deepEqual([one.destination, one.source, one.status, one.attempts], [null, 'web', null, 0])
  assert.match(one.first, /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/)
  assert.deepEqual(one.event, { messageId: 'no-event', ...bad['no-event'] })
  assert.equal(await relay.metric('tidegate_events_rejected_total', { source: 'web', reason: 'missing_type' }), 1)
})

// What is forwarded is what was sent: order, digits, empty arrays; only key and metadata go, times and ids are added.
test('forwarded bytes', async (t) => {
  const { partner, relay } = await relayAndPartner(t)
  const text = '{"batch":[{"z":1.50,"type":"track","userId":"u","event":"E","messageId":"m-1","properties":{"n":12345678901234567890,'
    + '"e":[],"o":{},"x":1e2,"text":"\\u017elu\\u0165 \\ud83d\\ude00"},"context":[],"integrations":[],"timestamp":"2026-01-02T03:04:05.000Z",'
    + '"writeKey":"k","_metadata":{"nodeVersion":"20"},"a":null}],"sentAt":"2026-01-02T03:04:05.000Z"}'
  const answer = await send(relay, '/v1/batch', { body: text })
  assert.equal(answer.status, 200, answer.body)
  const [request] = await partner.arrived(1)
  const event = JSON.parse(request.body)
  const received = event.receivedAt
  assert.match(received, /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/)
  assert.equal(event.timestamp, received, 'sentAt and timestamp were equal, so the event happened when it was received')
  assert.equal(request.body.replaceAll(received, 'RECEIVED'),
    '{"z":1.50,"type":"track","userId":"u","event":"E","messageId":"m-1","properties":{"n":12345678901234567890,'
    + '"e":[],"o":{},"x":1e2,"text":"\\u017elu\\u0165 \\ud83d\\ude00"},"context":[],"integrations":[],"timestamp":"RECEIVED",'
    + '"a":null,"originalTimestamp":"2026-01-02T03:04:05.000Z","sentAt":"2026-01-02T03:04:05.000Z","receivedAt":"RECEIVED"}')
})

// The same messageId again, on another connection, in the same batch and after a restart, is answered with success and sent once.
test('duplicates are taken once', async (t) => {
  const { partner, relay } = await relayAndPartner(t)
  const one = track('Once', { messageId: 'same' })
  for (let i = 0; i < 6; i++) await accepted(relay, [one, one])
  await accepted(relay, [track('Other', { messageId: 'other' })])
  await partner.arrived(2)
  await relay.restart()
  await accepted(relay, [one])
  await accepted(relay, [track('Last', { messageId: 'last' })])
  await partner.arrived(3)
  assert.deepEqual(partner.messageIds().sort(), ['last', 'other', 'same'])
})

// What was acknowledged just before everything was killed is known afterwards, from the log: also with nothing saved.
test('duplicates after everything was killed', async (t) => {
  const { partner, relay } = await relayAndPartner(t, { workers: 2 })
  const first = Array.from({ length: 40 }, (_, i) => track('First', { messageId: `first-${i}` }))
  const second = Array.from({ length: 40 }, (_, i) => track('Second', { messageId: `second-${i}` }))
  // One connection each, so that both workers have some and either may get a repetition.
  const sendEach = (events) => Promise.all(events.map((event) => accepted(relay, [event])))
  await sendEach(first)
  await partner.arrived(40)
  await relay.killAll()
  rmSync(join(relay.dir, 'spool', 'dedup'), { force: true })
  await relay.start()
  await sendEach([...first, ...first])
  await sendEach(second)
  await settled(relay, 'hook', 80) // from now on segments of the run before might go
  await relay.killAll()
  await relay.start()
  await sendEach([...first, ...second])
  assert.equal(await relay.metric('tidegate_events_duplicate_total', { source: 'web' }), 80)
  await accepted(relay, [track('Last', { messageId: 'last' })])
  await until('the last one has arrived', () => partner.messageIds().includes('last'))
  assert.deepEqual([...new Set(partner.messageIds())].length, 81)
  assert.equal(await relay.metric('tidegate_events_accepted_total', { source: 'web' }), 1)
})

// Bytes that are no HTTP, requests that smuggle or stall: an error or the end of the connection, and the relay goes on.
test('hostile bytes', async (t) => {
  const { relay } = await relayAndPartner(t, { limits: { request_time: '500ms', headers: '2KiB' } })
  const key = `Authorization: ${basic()}\r\n`
  const refused = {
    'no HTTP': '\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03',
    'a length beside chunks': `POST /v1/t HTTP/1.1\r\nHost: x\r\n${key}Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n`,
    'two lengths': `POST /v1/t HTTP/1.1\r\nHost: x\r\n${key}Content-Length: 3\r\nContent-Length: 4\r\n\r\nabcd`,
    'a negative length': `POST /v1/t HTTP/1.1\r\nHost: x\r\n${key}Content-Length: -1\r\n\r\n`,
    'a folded header': `POST /v1/t HTTP/1.1\r\nHost: x\r\nX-A: b\r\n c\r\n${key}Content-Length: 2\r\n\r\n{}`,
    'a chunk without a size': `POST /v1/t HTTP/1.1\r\nHost: x\r\n${key}Transfer-Encoding: chunked\r\n\r\nzz\r\n`,
    'a NUL in a header': `POST /v1/t HTTP/1.1\r\nHost: x\r\nX-A: a\0b\r\n${key}Content-Length: 2\r\n\r\n{}`,
  }
  for (const [name, bytes] of Object.entries(refused)) {
    const text = await raw(relay, Buffer.from(bytes, 'latin1'))
    assert.match(text, /^HTTP\/1\.1 400 Bad Request\r\n/, name)
    assert.match(text, /"code":"malformed_request"/, name)
  }
  const stalled = ['POST /v1/t HT', `POST /v1/t HTTP/1.1\r\nHost: x\r\n${key}Content-Length: 100\r\n\r\n{`]
  await Promise.all(stalled.map((bytes) => raw(relay, bytes)))
  const endless = await raw(relay, Buffer.from(`POST /v1/t HTTP/1.1\r\nX-A: ${'a'.repeat(100000)}`))
  assert.match(endless, /^HTTP\/1\.1 431 |^$/)
  assert.equal((await send(relay, '/v1/t', { body: track('E') })).status, 200)
  assert.equal((await relay.status()).workers.reduce((n, w) => n + w.restarts, 0), 0)
})

// Requests sent ahead on one connection are answered in order.
test('pipelining', async (t) => {
  const { partner, relay } = await relayAndPartner(t)
  const request = (body) => `POST /v1/t HTTP/1.1\r\nHost: x\r\nAuthorization: ${basic()}\r\nContent-Length: ${body.length}\r\n\r\n${body}`
  const text = request(JSON.stringify(track('A'))) + request('{') + request(JSON.stringify(track('B')))
  const answers = await raw(relay, text, { enough: (s) => (s.match(/HTTP\/1\.1 /g) ?? []).length === 3 && s.endsWith(SUCCESS) })
  assert.deepEqual(answers.match(/HTTP\/1\.1 \d+/g), ['HTTP/1.1 200', 'HTTP/1.1 400', 'HTTP/1.1 200'])
  await partner.arrived(2)
})

// What a source's events say of the client: its address where the source wants it, from a proxy that is trusted, unless
// the sender says it, and for servers only where they ask for it.
test('addresses of clients', async (t) => {
  const { partner, relay } = await relayAndPartner(t, {
    sources: [
      { name: 'web', write_key: 'web' }, { name: 'private', write_key: 'private', record_ip: false },
      { name: 'behind', write_key: 'behind', trusted_proxies: ['127.0.0.0/8', '10.0.0.0/8'] },
      { name: 'core', write_key: 'core', trusted: true },
    ],
  })
  const browser = { origin: ORIGIN, 'user-agent': 'Browser/1' }
  const forwarded = { 'x-forwarded-for': '6.6.6.6, 203.0.113.9, 10.1.1.1' }
  const own = { context: { ip: '198.51.100.1', userAgent: 'own' } }
  const cases = {
    'a browser': ['web', browser, {}, { ip: '127.0.0.1', userAgent: 'Browser/1' }],
    'a browser, a proxy that is not trusted': ['web', { ...browser, ...forwarded }, {}, { ip: '127.0.0.1', userAgent: 'Browser/1' }],
    'a browser that says it itself': ['web', browser, own, own.context],
    'a browser that says null': ['web', browser, { context: { ip: null } }, { userAgent: 'Browser/1', ip: '127.0.0.1' }],
    'a browser that is nobody\'s business': ['private', browser, {}, { userAgent: 'Browser/1' }],
    'a browser behind trusted proxies': ['behind', { ...browser, ...forwarded }, {}, { ip: '203.0.113.9', userAgent: 'Browser/1' }],
    'a server': ['behind', forwarded, {}, undefined],
    'a server that asks for it': ['behind', forwarded, { context: { direct: true } }, { direct: true, ip: '203.0.113.9' }],
    'another relay': ['core', browser, { context: { library: 1 } }, { library: 1 }],
  }
  for (const [messageId, [key, headers, more]] of Object.entries(cases)) {
    const answer = await send(relay, '/v1/track', { key, headers, body: track('E', { messageId, ...more }) })
    assert.equal(answer.status, 200, answer.body)
  }
  await partner.arrived(Object.keys(cases).length)
  const contexts = Object.fromEntries(partner.events().map((e) => [e.messageId, e.context]))
  assert.deepEqual(contexts, Object.fromEntries(Object.entries(cases).map(([name, [, , , context]]) => [name, context])))
  const proxied = { host: 'inner', 'x-forwarded-host': 'events.example', 'x-forwarded-proto': 'https' }
  const told = async (key) => JSON.parse((await send(relay, `/v1/projects/${key}/settings`, { method: 'GET', key: null, headers: proxied })).body)
    .integrations['Segment.io'].apiHost
  assert.deepEqual([await told('behind'), await told('web')], ['events.example/v1', 'inner/v1'])
})

// A source above its rate is told when to come again, before anything of the batch is taken.
test('rate of a source', async (t) => {
  const { relay } = await relayAndPartner(t, { workers: 1, sources: [{ name: 'web', write_key: WRITE_KEY, rate: 5 }] })
  const batch = Array.from({ length: 50 }, () => track('A')) // more than it may send while one is answered
  const refused = await until('it is refused', async () => {
    const answer = await send(relay, '/v1/batch', { body: { batch } })
    return answer.status === 429 && answer
  })
  assert.match(refused.headers['retry-after'], /^[1-9][0-9]*$/)
  assert.equal(JSON.parse(refused.body).code, 'rate_limited')
})

// What a trusted source says that it received long ago has waited there, not here: it is delivered, with its own times.
test('an old event of a trusted source', async (t) => {
  const partner = await Partner.start(t)
  const relay = await new Relay(t, {
    sources: [{ name: 'edge', write_key: 'edge', trusted: true }],
    destinations: { hook: { script: 'webhook', settings: { url: `${partner.url}/in` }, backlog: { max_age: '1h' } } },
  }).start()
  const times = { receivedAt: '2020-01-01T00:00:05.000Z', timestamp: '2020-01-01T00:00:00.000Z', originalTimestamp: '2019-12-31T00:00:00.000Z' }
  await accepted(relay, [track('E', times)], { key: 'edge' })
  const [request] = await partner.arrived(1)
  const { receivedAt, timestamp, originalTimestamp } = JSON.parse(request.body)
  assert.deepEqual({ receivedAt, timestamp, originalTimestamp }, times)
  assert.ok((await relay.destination('hook')).oldest_ms < 3600000)
})

// A source's rate is counted over all workers, and begins with a second's worth.
test('rate of a source', async (t) => {
  const relay = await new Relay(t, { workers: 3, sources: [{ name: 'slow', write_key: 'slow', rate: 10 }, { name: 'one', write_key: 'one', rate: 1 }] }).start()
  const began = Date.now()
  const answers = await Promise.all(Array.from({ length: 60 }, () => send(relay, '/v1/track', { body: track('E'), key: 'slow' })))
  const seconds = (Date.now() - began) / 1000
  const taken = answers.filter((a) => a.status === 200).length
  assert.ok(taken >= 10 && taken <= 11 + 10 * seconds, `${taken} in ${seconds} s`)
  for (const { status, headers } of answers) if (status !== 200) assert.deepEqual([status, headers['retry-after'], headers['x-ratelimit-reset']], [429, '1', '1'])
  assert.equal((await send(relay, '/v1/track', { body: track('E'), key: 'one' })).status, 200)
  await until('another may come', async () => (await send(relay, '/v1/track', { body: track('E'), key: 'one' })).status === 200)
})
