// What an operator sees: health, metrics, status, log lines; and what nobody may see: secrets.

import assert from 'node:assert/strict'
import { networkInterfaces } from 'node:os'
import test from 'node:test'

import { Partner } from './lib/partner.mjs'
import { parseLine, parseMetrics, Relay, WRITE_KEY } from './lib/relay.mjs'
import { accepted, keepAlive, send, track } from './lib/sender.mjs'
import { until } from './lib/wait.mjs'

function hook(partner, more = {}) {
  return { script: 'webhook', settings: { url: `${partner.url}/in`, ...more } }
}

// The four pages; another path and another method are refused.
test('pages', async (t) => {
  const partner = await Partner.start(t)
  const relay = await new Relay(t, { destinations: { hook: hook(partner) } }).start()
  assert.deepEqual(await relay.admin('/healthz'), { status: 200, type: 'text/plain; charset=utf-8', text: 'ok\n' })
  assert.deepEqual(await relay.admin('/readyz'), { status: 200, type: 'text/plain; charset=utf-8', text: 'ready\n' })
  assert.equal((await relay.admin('/metrics')).type, 'text/plain; version=0.0.4; charset=utf-8')
  assert.equal((await relay.admin('/status')).type, 'application/json')
  assert.equal((await relay.admin('/')).status, 404)
  const post = await fetch(`http://${relay.adminAddr}/healthz`, { method: 'POST', headers: { connection: 'close' } })
  assert.ok(post.status >= 400, `POST: ${post.status}`)
})

// The status of page and command: the same members, and numbers that are true.
test('status', async (t) => {
  const [good, bad] = [await Partner.start(t), await Partner.start(t, { answer: { status: 401 } })]
  const relay = await new Relay(t, { destinations: { good: hook(good), bad: hook(bad) } }).start()
  await accepted(relay, [track('E'), track('E')])
  await good.arrived(2)
  const status = await until('one is parked and the other through', async () => {
    const s = await relay.status()
    const { good: through, bad: stuck } = s.destinations
    return stuck.parked_reason === 'http_401' && stuck.backlog_events + stuck.retries >= 2 && through.backlog_events === 0 && s
  })
  assert.deepEqual(Object.keys(JSON.parse((await relay.admin('/status')).text)), Object.keys(status))
  assert.deepEqual([status.version, status.ready, status.why, status.generation], ['0.1.0', true, null, 1])
  assert.deepEqual(Object.keys(status.destinations).sort(), ['bad', 'good'])
  assert.deepEqual([status.destinations.bad.state, status.destinations.good.state], ['parked', 'running'])
  assert.equal(status.workers.length, 2)
  for (const worker of status.workers) assert.deepEqual([worker.up, worker.accepting, worker.restarts], [true, true, 0])
  const { code, stdout } = await relay.command('status')
  assert.equal(code, 0)
  assert.match(stdout, /bad: parked, .*http_401/)
  assert.match(stdout, /good: running/)
})

// Metrics are the format that Prometheus reads, with the names that dashboards know.
test('metrics', async (t) => {
  const partner = await Partner.start(t, { answer: (r) => ({ status: r.body.includes('refused') ? 400 : 200 }) })
  const relay = await new Relay(t, { destinations: { 'a-"b': undefined, hook: hook(partner) } }).start()
  await accepted(relay, [track('E', { messageId: 'one' }), track('E', { messageId: 'two' }), track('refused'), { type: 'odd' }])
  await send(relay, '/v1/track', { key: 'wrong', body: {} })
  await partner.arrived(3)
  await until('the refused one is dead', async () => await relay.metric('tidegate_events_dead_total', { destination: 'hook' }) === 1)
  await accepted(relay, [track('E', { messageId: 'one' })])
  const value = (name, labels) => relay.metric(name, labels)
  assert.equal(await value('tidegate_events_accepted_total', { source: 'web', type: 'track' }), 3)
  assert.equal(await value('tidegate_events_rejected_total', { source: 'web', reason: 'invalid_type' }), 1)
  assert.equal(await value('tidegate_events_duplicate_total', { source: 'web' }), 1)
  await until('the answers have come back', async () => await value('tidegate_events_delivered_total', { destination: 'hook' }) === 2)
  assert.equal(await value('tidegate_requests_total', { destination: 'hook', status: '2xx' }), 2)
  assert.equal(await value('tidegate_requests_total', { destination: 'hook', status: '4xx' }), 1)
  assert.equal(await value('tidegate_ingest_refused_total', { code: 'unknown_write_key' }), 1)
  assert.equal(await value('tidegate_destination_parked', { destination: 'hook' }), 0)
  const series = parseMetrics((await relay.admin('/metrics')).text)
  const keys = series.map((s) => `${s.name} ${JSON.stringify(s.labels)}`)
  assert.equal(new Set(keys).size, keys.length, 'no series twice')
  for (const { name, type } of series) assert.equal(name.endsWith('_total'), type === 'counter' && !/_(sum|count)$/.test(name), name)
})

// Totals never go back when a worker dies: nobody's graph shows a dip.
test('totals over kills', async (t) => {
  const partner = await Partner.start(t)
  const relay = await new Relay(t, { destinations: { hook: hook(partner) } }).start()
  const totals = async () => new Map(parseMetrics((await relay.admin('/metrics')).text).filter((s) => s.type === 'counter')
    .map((s) => [`${s.name} ${JSON.stringify(s.labels)}`, s.value]))
  let before = new Map()
  for (let round = 0; round < 4; round++) {
    await accepted(relay, Array.from({ length: 25 }, () => track('E')), { agent: keepAlive() })
    await relay.killWorker(round)
    const now = await totals()
    for (const [key, value] of before) assert.ok(now.get(key) >= value, `${key}: ${value}, then ${now.get(key)}`)
    before = now
  }
  await partner.arrived(100)
  assert.equal(await relay.metric('tidegate_events_accepted_total'), 100)
  assert.equal(await relay.metric('tidegate_worker_restarts_total'), 4)
})

function outerAddress() {
  return Object.values(networkInterfaces()).flat().find((a) => a.family === 'IPv4' && !a.internal)?.address
}

// On another address than loopback a token is required by the configuration, and asked for.
test('admin token', async (t) => {
  const address = outerAddress() ?? '0.0.0.0'
  const relay = new Relay(t, { admin: `${address}:0` })
  relay.write()
  const checked = await relay.command('check')
  assert.equal(checked.code, 1)
  assert.match(checked.stderr, /admin_token: required/)
  relay.config.admin_token = 'the-admin-token'
  await relay.start()
  const refused = await relay.admin('/metrics')
  assert.equal(refused.status, 401)
  assert.match(refused.text, /Authorization: Bearer/)
  assert.equal((await relay.admin('/healthz', { authorization: 'Bearer wrong' })).status, 401)
  assert.equal((await relay.admin('/metrics', { authorization: 'Bearer the-admin-token' })).status, 200)
  assert.ok(!relay.log.includes('the-admin-token'))
})

// Log lines are key=value, or JSON objects; either way each has a time, a level, a worker and a message.
test('log lines', async (t) => {
  for (const json of [false, true]) {
    const relay = await new Relay(t, { log: { json, level: 'debug' } }).start()
    await relay.killWorker(1)
    await until('its successor is up', async () => (await relay.workerPids()).length === 2) // or it would log beside the end
    await relay.stop()
    const lines = relay.log.split('\n').filter(Boolean)
    for (const line of lines) {
      const fields = parseLine(line)
      assert.match(fields.time, /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/, line)
      assert.match(fields.level, /^(debug|info|warn|error)$/, line)
      assert.ok(fields.worker !== undefined && fields.msg !== undefined, line)
      assert.equal(line.startsWith('{'), json)
    }
    assert.equal(relay.lines('worker died')[0].level, 'error')
    assert.deepEqual(lines.map(parseLine).map((l) => l.msg).slice(-2), ['stopping', 'stopped'])
  }
})

// No secret in any form leaves but in the request that needs it: not in logs, dead letters, status, metrics or `try`.
test('secrets are masked everywhere', async (t) => {
  const secrets = {
    key: 'everflow-secret-key', verification: 'verification-secret', token: 'impact-secret-token', signing: 'signing-secret',
    header: 'header-secret', query: 'query-secret', admin: 'admin-secret-token',
  }
  // The partner gives back what it got, which is how secrets get into responses.
  const partner = await Partner.start(t, {
    answer: (r) => ({ status: 400, headers: { 'x-echo': JSON.stringify(r.headers) }, body: JSON.stringify(r) }),
  })
  const relay = await new Relay(t, {
    log: { level: 'debug' },
    admin_token: secrets.admin,
    destinations: {
      everflow: {
        settings: {
          apiKey: secrets.key, verificationToken: secrets.verification, postbackUrl: `${partner.url}/?nid=1`,
          eventMapping: { 'Order Completed': '24' },
        },
      },
      impact: { settings: { accountSid: 'SID', apiKey: secrets.token, campaignId: '1', baseUrl: partner.url, trackingBaseUrl: partner.url } },
      hook: hook(partner, { sharedSecret: secrets.signing, headers: { Authorization: `Bearer ${secrets.header}` } }),
      up: { script: 'segment', settings: { endpoint: `${partner.url}/v1/batch`, writeKey: secrets.query, batchWaitMs: 1 } },
    },
  }).start()
  await accepted(relay, [track('Order Completed', { userId: 'u', context: { referrer: { type: 'everflow', id: 'tx' } } })])
  const dead = await until('all four are dead letters', async () => {
    const found = await relay.dead()
    return found.length === 4 && found
  })
  let text = relay.log + JSON.stringify(dead) + (await relay.command('status', '--json')).stdout
  for (const { id } of dead) {
    for (const more of [[], ['--json']]) {
      const shown = await relay.command('dead', 'show', String(id), ...more)
      assert.equal(shown.code, 0, shown.stderr)
      assert.match(shown.stdout, /\*\*\*/)
      text += shown.stdout
    }
  }
  for (const page of ['/metrics', '/status']) text += (await relay.admin(page, { authorization: `Bearer ${secrets.admin}` })).text
  relay.config.destinations.hook.settings.url = `nonsense-${secrets.signing}`
  relay.write()
  text += (await relay.command('check')).stderr
  assert.equal(new Set(partner.requests.map((r) => r.path)).size, 4, 'all four were sent')
  const sent = JSON.stringify(partner.requests)
  const forms = Object.entries(secrets).flatMap(([name, value]) => [
    [name, value], [`${name}, base64`, Buffer.from(value).toString('base64').replace(/=+$/, '')],
  ])
  forms.push(['impact credentials', Buffer.from(`SID:${secrets.token}`).toString('base64')],
    ['segment credentials', Buffer.from(`${secrets.query}:`).toString('base64')])
  for (const [name, form] of forms) assert.ok(!text.includes(form), `${name} is in ${around(text, form)}`)
  for (const form of [secrets.verification, secrets.header]) assert.ok(sent.includes(form), 'the partner gets the real one')
  assert.ok(!text.includes(WRITE_KEY), 'write keys of sources are no business of logs')
})

function around(text, form) {
  const at = text.indexOf(form)
  return JSON.stringify(text.slice(Math.max(0, at - 200), at + form.length + 50))
}
