// What becomes of an event when its partner answers this or that.

import assert from 'node:assert/strict'
import { createHmac } from 'node:crypto'
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import test from 'node:test'

import { CUT, DRIP, HANG, Partner } from './lib/partner.mjs'
import { folder, Relay } from './lib/relay.mjs'
import { accepted, track } from './lib/sender.mjs'
import { settled } from './lib/standin.mjs'
import { certificate } from './lib/tls.mjs'
import { until } from './lib/wait.mjs'

const QUICK = { retry: { first: '50ms', max: '300ms' } }

function hook(partner, { settings, ...more } = {}) {
  return { script: 'webhook', settings: { url: `${partner.url}/in`, ...settings }, ...QUICK, ...more }
}

// The whole request of a delivery: nothing in it but what it needs.
test('the request, whole', async (t) => {
  const partner = await Partner.start(t)
  const relay = await new Relay(t, {
    destinations: { hook: hook(partner, { settings: { sharedSecret: 's3cret', headers: { 'X-Team': 'one' } } }) },
  }).start()
  await accepted(relay, [track('E', { messageId: 'm', timestamp: '2026-01-02T03:04:05.678Z' })])
  const [request] = await partner.arrived(1)
  const { receivedAt } = JSON.parse(request.body)
  assert.equal(request.body, '{"type":"track","event":"E","userId":"user-1","messageId":"m",'
    + `"timestamp":"2026-01-02T03:04:05.678Z","originalTimestamp":"2026-01-02T03:04:05.678Z","receivedAt":"${receivedAt}"}`)
  assert.deepEqual([request.method, request.url], ['POST', '/in'])
  assert.deepEqual(request.headers, {
    host: `127.0.0.1:${partner.port}`,
    'user-agent': 'tidegate/0.1.0',
    accept: '*/*',
    'accept-encoding': 'gzip, deflate',
    'content-type': 'application/json',
    'x-team': 'one',
    'x-signature': createHmac('sha1', 's3cret').update(request.body).digest('hex'),
    'content-length': String(Buffer.byteLength(request.body)),
  })
})

// A failing answer is tried again, the same event, until it is taken; nothing else is left behind.
test('500, then 200', async (t) => {
  const partner = await Partner.start(t, { script: [{ status: 500 }, { status: 503 }, CUT] })
  const relay = await new Relay(t, { destinations: { hook: hook(partner) } }).start()
  await accepted(relay, [track('E', { messageId: 'm' })])
  const requests = await partner.arrived(4)
  assert.equal(new Set(requests.map((r) => r.body)).size, 1, 'each try sends the same bytes')
  assert.equal((await settled(relay, 'hook', 1)).state, 'running')
  assert.deepEqual(await relay.dead(), [])
  assert.equal(await relay.metric('tidegate_events_retried_total', { destination: 'hook', reason: 'http_500' }), 1)
  assert.equal(await relay.metric('tidegate_events_delivered_total', { destination: 'hook' }), 1)
})

// An event that waits for its next try is tried after a restart, in order or by SIGKILL.
test('a retry survives restarts', async (t) => {
  const partner = await Partner.start(t, { answer: { status: 500 } })
  const relay = await new Relay(t, { destinations: { hook: hook(partner, { retry: { first: '1s', max: '2s' } }) } }).start()
  await accepted(relay, [track('E', { messageId: 'm' })])
  await partner.arrived(1)
  await until('it is in the retry set', async () => (await relay.destination('hook')).retries === 1)
  await relay.restart()
  assert.equal(await until('it is still there', async () => (await relay.destination('hook')).retries), 1)
  await relay.killAll()
  partner.answer = { status: 200 }
  const before = partner.requests.length
  await relay.start()
  await partner.arrived(before + 1)
  await until('nothing is left to do', async () => (await relay.destination('hook')).retries === 0)
  assert.deepEqual([...new Set(partner.messageIds())], ['m'])
})

// A refused event becomes a dead letter with request and response, in which secrets are masked.
test('400 becomes a dead letter', async (t) => {
  const partner = await Partner.start(t, {
    answer: (r) => (r.body.includes('refused') ? { status: 422, headers: { 'x-why': 'sku' }, body: '{"error":"no such sku"}' } : { status: 200 }),
  })
  const relay = await new Relay(t, {
    destinations: {
      hook: hook(partner, { settings: { sharedSecret: 'shared-secret-value', headers: { Authorization: 'Bearer open-sesame' } } }),
    },
  }).start()
  await accepted(relay, [track('Good'), track('refused', { messageId: 'm-1' }), track('Good')])
  const [dead] = await until('a dead letter', async () => {
    const found = await relay.dead('--dest', 'hook')
    return found.length && found
  })
  assert.deepEqual([dead.destination, dead.messageId, dead.source, dead.status, dead.attempts, dead.event.event],
    ['hook', 'm-1', 'web', 422, 1, 'refused'])
  assert.match(dead.reason, /^http_422/)
  const { code, stdout } = await relay.command('dead', 'show', String(dead.id))
  assert.equal(code, 0)
  assert.match(stdout, /POST .*\/in/)
  assert.match(stdout, /no such sku/)
  assert.match(stdout, /\*\*\*/)
  assert.doesNotMatch(stdout, /open-sesame|shared-secret-value/)
  await partner.arrived(3)
  await settled(relay, 'hook', 3)
  assert.equal((await relay.command('dead', 'drop', String(dead.id))).code, 0)
  assert.deepEqual(await relay.dead(), [])
})

// 401 parks the destination: nothing is sent, nothing is lost, a restart changes nothing; resume goes on.
test('401 parks, resume delivers', async (t) => {
  const partner = await Partner.start(t, { answer: { status: 401 } })
  const other = await Partner.start(t)
  const relay = await new Relay(t, { destinations: { hook: hook(partner), other: hook(other) } }).start()
  await accepted(relay, [track('E', { messageId: 'm-0' })])
  await until('it is parked', async () => {
    const d = await relay.destination('hook')
    return d.state === 'parked' && d.parked_reason === 'http_401'
  })
  assert.equal(await relay.metric('tidegate_destination_parked', { destination: 'hook' }), 1)
  assert.equal(await relay.metric('tidegate_destination_parked', { destination: 'other' }), 0)
  const before = partner.requests.length
  await accepted(relay, [track('E', { messageId: 'm-1' }), track('E', { messageId: 'm-2' })])
  await other.arrived(3)
  await relay.restart()
  await accepted(relay, [track('E', { messageId: 'm-3' })])
  await other.arrived(4)
  await until('it is parked still', async () => (await relay.destination('hook')).state === 'parked')
  assert.equal(partner.requests.length, before, 'nothing is sent to a parked destination')
  partner.answer = { status: 200 }
  const resumed = await relay.command('resume', 'hook')
  assert.deepEqual([resumed.code, resumed.stderr], [0, ''])
  await until('all have come', () => new Set(partner.messageIds().slice(before)).size === 4)
  await until('it is parked no more', async () => (await relay.destination('hook')).state === 'running')
  assert.equal(await relay.metric('tidegate_destination_parked', { destination: 'hook' }), 0)
  assert.deepEqual(await relay.dead(), [])
})

// pause and resume by the operator; an unknown name is an error.
test('pause and resume', async (t) => {
  const partner = await Partner.start(t)
  const other = await Partner.start(t)
  const relay = await new Relay(t, { destinations: { hook: hook(partner), other: hook(other) } }).start()
  assert.equal((await relay.command('pause', 'hook')).code, 0)
  await accepted(relay, [track('E')])
  await other.arrived(1)
  await until('it is paused', async () => (await relay.destination('hook')).state === 'paused')
  await relay.restart()
  await until('it is paused still', async () => (await relay.destination('hook')).state === 'paused')
  assert.equal(partner.requests.length, 0)
  assert.equal((await relay.command('resume', 'hook')).code, 0)
  await partner.arrived(1)
  const unknown = await relay.command('pause', 'nobody')
  assert.equal(unknown.code, 1)
  assert.match(unknown.stderr, /nobody/)
})

// Long enough to be told in the log: shorter ones are over before anybody could read it.
const SECONDS = 2

// 429 with Retry-After pauses the whole destination for that long; other events wait too.
test('429 with Retry-After', async (t) => {
  const partner = await Partner.start(t, { script: [{ status: 429, headers: { 'retry-after': String(SECONDS) } }] })
  const relay = await new Relay(t, { workers: 1, destinations: { hook: hook(partner) } }).start()
  await accepted(relay, [track('E', { messageId: 'm-0' })])
  const [first] = await partner.arrived(1)
  await relay.says('destination waits, as the partner asks')
  await accepted(relay, [track('E', { messageId: 'm-1' })])
  const requests = await partner.arrived(3)
  for (const later of requests.slice(1)) assert.ok(later.at - first.at >= SECONDS * 1000 - 100, `${later.at - first.at} ms after the 429`)
  assert.deepEqual([...new Set(partner.messageIds())].sort(), ['m-0', 'm-1'])
})

// Events are grouped to arrays up to the size that is set; all are in exactly one. What is not full waits for more.
test('batches', async (t) => {
  const partner = await Partner.start(t)
  const relay = await new Relay(t, {
    workers: 1, destinations: { hook: hook(partner, { settings: { batchSize: 10, batchWaitMs: 60_000 } }) },
  }).start()
  const ids = await accepted(relay, Array.from({ length: 35 }, (_, i) => track('E', { messageId: `m-${i}` })))
  await until('the full ones have come', () => partner.messageIds().length >= 30)
  ids.push(...await accepted(relay, Array.from({ length: 5 }, (_, i) => track('E', { messageId: `more-${i}` }))))
  await until('all have come', () => partner.messageIds().length >= 40)
  assert.deepEqual(partner.messageIds().sort(), ids.sort())
  assert.deepEqual(partner.requests.map((r) => JSON.parse(r.body).length), [10, 10, 10, 10])
})

// A refused batch is halved until the bad event is alone: it is the only one that is not delivered.
test('the bad event of a batch is found', async (t) => {
  const partner = await Partner.start(t, { answer: (r) => ({ status: r.body.includes('poison') ? 400 : 200 }) })
  const relay = await new Relay(t, {
    workers: 1, destinations: { hook: hook(partner, { settings: { batchSize: 16, batchWaitMs: 300 } }) },
  }).start()
  const events = Array.from({ length: 16 }, (_, i) => track(i === 11 ? 'poison' : 'E', { messageId: `m-${i}` }))
  await accepted(relay, events)
  const dead = await until('a dead letter', async () => {
    const found = await relay.dead()
    return found.length && found
  })
  await settled(relay, 'hook', 16)
  assert.deepEqual(dead.map((d) => d.messageId), ['m-11'])
  const good = partner.requests.filter((r) => !r.body.includes('poison')).flatMap((r) => JSON.parse(r.body)).map((e) => e.messageId)
  assert.deepEqual(good.sort(), events.map((e) => e.messageId).filter((id) => id !== 'm-11').sort())
})

// The integrations object decides who gets an event.
test('the integrations object', async (t) => {
  const partner = await Partner.start(t)
  const upstream = await Partner.start(t)
  const relay = await new Relay(t, {
    destinations: {
      hook: hook(partner),
      up: { script: 'segment', settings: { endpoint: `${upstream.url}/v1/batch`, writeKey: 'up-key', gzip: true, batchWaitMs: 50 } },
    },
  }).start()
  const cases = {
    missing: [undefined, true], empty: [{}, true], all: [{ All: true }, true], none: [{ All: false }, false],
    off: [{ Webhook: false }, false], only: [{ All: false, Webhook: true }, true], options: [{ All: false, Webhook: { a: 1 } }, true],
    'other case': [{ webhook: false }, true], null: [{ Webhook: null }, true], 'null under none': [{ All: false, Webhook: null }, false],
    array: [[], true], 'the vendor itself': [{ All: false, 'Segment.io': true }, false],
  }
  const events = Object.entries(cases).map(([messageId, [integrations]]) => track('E', { messageId, integrations }))
  await accepted(relay, events)
  const wanted = Object.entries(cases).filter(([, [, sent]]) => sent).map(([id]) => id)
  await until('the next relay has all of them', () => upstream.messageIds().length >= events.length)
  await settled(relay, 'hook', events.length)
  assert.deepEqual(partner.messageIds().sort(), wanted.sort())
  assert.deepEqual(upstream.messageIds().sort(), Object.keys(cases).sort(), 'a transparent destination gets everything')
  for (const request of upstream.requests) {
    assert.equal(request.headers.authorization, `Basic ${Buffer.from('up-key:').toString('base64')}`)
    assert.equal(request.headers['content-encoding'], 'gzip')
    assert.match(request.body, /^\{"batch":\[.*\],"sentAt":"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z"\}$/)
  }
})

// A partner that is away costs nothing but time: its events come when it is back, each of them, none dead.
test('a partner away, then back', async (t) => {
  const partner = await Partner.start(t)
  const relay = await new Relay(t, { destinations: { hook: hook(partner) } }).start()
  await accepted(relay, [track('E', { messageId: 'before' })])
  await partner.arrived(1)
  await partner.stop()
  const ids = []
  for (let i = 0; i < 20; i++) ids.push(...await accepted(relay, Array.from({ length: 10 }, () => track('E'))))
  await until('it has failed', async () => await relay.metric('tidegate_requests_total', { destination: 'hook', status: 'none' }) > 0)
  await partner.start()
  await until('all have come', () => {
    const got = new Set(partner.messageIds())
    if (ids.every((id) => got.has(id))) return true
    throw new Error(`${got.size} of ${ids.length + 1}`)
  }, { seconds: 90 })
  await settled(relay, 'hook', ids.length + 1)
  assert.deepEqual(await relay.dead(), [])
})

// One that refuses, hangs or drips takes nothing from the others.
test('a dead destination disturbs nobody', async (t) => {
  const good = await Partner.start(t)
  const hanging = await Partner.start(t, { answer: HANG })
  const dripping = await Partner.start(t, { answer: DRIP })
  const cutting = await Partner.start(t, { answer: CUT })
  const gone = await Partner.start(t)
  await gone.stop()
  const relay = await new Relay(t, {
    stop_time: '1s',
    destinations: {
      good: hook(good), hanging: hook(hanging, { timeout: '60s' }), dripping: hook(dripping, { timeout: '60s' }),
      cutting: hook(cutting), gone: hook(gone),
    },
  }).start()
  for (let i = 0; i < 30; i++) await accepted(relay, Array.from({ length: 20 }, () => track('E')))
  await until('the good one has all', () => new Set(good.messageIds()).size === 600)
  assert.equal((await settled(relay, 'good', 600)).state, 'running')
  assert.equal(good.messageIds().length, 600)
  for (const name of ['hanging', 'dripping', 'cutting', 'gone']) {
    await until(`${name} still has its events`, async () => {
      const d = await relay.destination(name)
      if (d.backlog_events + d.retries >= 600) return true // the backlog counts from the oldest, retries are among it
      throw new Error(JSON.stringify(d))
    })
    assert.deepEqual(await relay.dead('--dest', name), [])
  }
})

// A request that takes longer than the timeout is cut and tried again.
test('timeout', async (t) => {
  const partner = await Partner.start(t, { script: [HANG] })
  const relay = await new Relay(t, { destinations: { hook: hook(partner, { timeout: '300ms' }) } }).start()
  await accepted(relay, [track('E')])
  await partner.arrived(2)
  await settled(relay, 'hook', 1)
  assert.ok(await relay.metric('tidegate_events_retried_total', { destination: 'hook', reason: 'timeout' }) >= 1)
})

// An event that nobody took in time becomes a dead letter.
test('the deadline of retries', async (t) => {
  const partner = await Partner.start(t, { answer: (r) => ({ status: r.body.includes('unlucky') ? 500 : 200 }) })
  const relay = await new Relay(t, {
    destinations: { hook: hook(partner, { retry: { first: '100ms', max: '400ms', deadline: '2s' } }) },
  }).start()
  await accepted(relay, [track('unlucky', { messageId: 'm' })])
  const [dead] = await until('a dead letter', async () => {
    const found = await relay.dead()
    return found.length && found
  })
  assert.equal(dead.messageId, 'm')
  assert.ok(dead.attempts > 1, `${dead.attempts} attempts`)
  assert.equal(dead.attempts, partner.requests.length)
})

// TLS: a certificate that nobody vouches for is a failure that is tried again; with its authority it is good.
test('TLS', async (t) => {
  const dir = folder(t)
  const tls = certificate(dir)
  const partner = await Partner.start(t, { tls })
  const relay = await new Relay(t, { destinations: { hook: hook(partner) } }).start()
  await accepted(relay, [track('E', { messageId: 'm' })])
  await until('it fails', async () => await relay.metric('tidegate_requests_total', { destination: 'hook', status: 'none' }) > 0)
  assert.equal(partner.requests.length, 0)
  assert.deepEqual(await relay.dead(), [])
  await relay.stop()
  relay.config.egress.ca_file = tls.caFile
  await relay.start()
  await partner.arrived(1)
  assert.deepEqual(partner.messageIds(), ['m'])
})

// Without egress.allow_private a private address is refused at the check, whatever name hides it.
test('no way into the private network', async (t) => {
  const partner = await Partner.start(t)
  const relay = new Relay(t, { egress: { allow_private: false }, destinations: { hook: hook(partner) } })
  relay.write()
  const checked = await relay.command('check')
  assert.equal(checked.code, 1)
  assert.match(checked.stderr, /destinations\.hook\.settings\.url/)
  const tls = certificate(folder(t))
  const hidden = await Partner.start(t, { tls })
  relay.config.destinations.hook.settings.url = `https://localhost:${hidden.port}/in`
  relay.config.egress.ca_file = tls.caFile
  await relay.start()
  await accepted(relay, [track('E')])
  await until('it is refused', async () =>
    await relay.metric('tidegate_events_retried_total', { destination: 'hook', reason: 'egress_refused' }) > 0)
  assert.equal(hidden.requests.length, 0)
})

// A script of the user's own: found before the shipped ones, with a chain of requests, an error, and a loop that ends.
test("a script of one's own", async (t) => {
  const partner = await Partner.start(t, {
    answer: (r) => (r.path === '/find' ? { status: 200, body: '{"id":7}' } : { status: 200 }),
  })
  const relay = new Relay(t, {
    workers: 1, scripts: ['./scripts'], script: { hard_limit: '60s' }, // so that the soft one is met first, however busy the machine is
    destinations: { mine: { settings: { url: partner.url }, ...QUICK } },
  })
  mkdirSync(join(relay.dir, 'scripts/mine'), { recursive: true })
  writeFileSync(join(relay.dir, 'scripts/mine/init.lua'), `
    local tidegate = require "tidegate"
    return {
      name = "Mine",
      settings = { url = { type = "url", required = true } },
      hosts = {},
      on = {
        track = function(event, settings)
          if event.event == "loop" then while true do end end
          if event.event == "raise" then error("a bug") end
          if event.event == "refuse" then tidegate.reject("not_today") end
          if event.event == "skip" then tidegate.skip("not_mapped") end
          local found = tidegate.deliver { method = "GET", url = settings.url .. "/find", query = { user = event.userId } }:wait()
          local id = tidegate.json.decode(found.body).id
          tidegate.deliver { method = "POST", url = settings.url .. "/change", json = { id = id, event = event.event } }
        end,
      },
    }`)
  await relay.start()
  await accepted(relay, ['skip', 'raise', 'refuse', 'loop', 'chain'].map((e) => track(e, { messageId: e })))
  await partner.arrived(2)
  assert.deepEqual(partner.requests.map((r) => [r.method, r.url, r.body]),
    [['GET', '/find?user=user-1', ''], ['POST', '/change', '{"event":"chain","id":7}']])
  const dead = await until('three dead letters', async () => {
    const found = await relay.dead()
    return found.length === 3 && found
  })
  const reasons = Object.fromEntries(dead.map((d) => [d.messageId, d.reason]))
  assert.match(reasons.raise, /^script_error: .*a bug/)
  assert.match(reasons.refuse, /^not_today/)
  assert.match(reasons.loop, /^script_/)
  assert.equal(await relay.metric('tidegate_events_skipped_total', { destination: 'mine', reason: 'not_mapped' }), 1)
  assert.equal(await relay.metric('tidegate_worker_restarts_total'), 0)
})
