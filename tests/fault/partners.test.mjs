// Partners in every kind of trouble, each beside a healthy one. The healthy one gets everything while the other is in
// trouble; the other's events wait, in bounded memory, and reach it when the trouble is over. Nothing here looks at time.

import assert from 'node:assert/strict'
import { mkdirSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { join } from 'node:path'
import test from 'node:test'

import { CUT, DRIP, HANG, Partner } from '../e2e/lib/partner.mjs'
import { folder, Relay } from '../e2e/lib/relay.mjs'
import { accepted, track } from '../e2e/lib/sender.mjs'
import { certificate } from '../e2e/lib/tls.mjs'
import { until } from '../e2e/lib/wait.mjs'
import { FaultyRelay } from './lib/faults.mjs'
import { haveOutcome, memoryIsBounded } from './lib/load.mjs'

const RETRY = { first: '50ms', max: '300ms' }
const BATCHES = 8
const BATCH = 25

function ids(partner) {
  return () => new Set(partner.messageIds())
}

async function pair(t, sickUrl, more = {}) {
  const well = await Partner.start(t)
  const relay = await new (more.Relay ?? Relay)(t, {
    workers: 1,
    destinations: {
      sick: { script: 'webhook', settings: { url: sickUrl }, retry: RETRY, ...more.sick },
      well: { script: 'webhook', settings: { url: well.url }, retry: RETRY },
    },
    ...more.config,
  }).start()
  return { relay, well }
}

// Everything reaches the healthy partner, whatever the other does.
async function wellGetsAll(relay, well) {
  const all = []
  for (let i = 0; i < BATCHES; i++) all.push(...await accepted(relay, Array.from({ length: BATCH }, () => track('E'))))
  await haveOutcome(relay, all, ids(well), { destination: 'well' })
  await until('the others wait', async () => {
    const status = await relay.destination('sick') // as workers reported it last
    if (status.backlog_events + status.retries >= all.length) return true
    throw new Error(JSON.stringify(status))
  })
  await memoryIsBounded(relay)
  return all
}

async function sickGetsAll(relay, sick, all) {
  assert.equal((await relay.command('resume', 'sick')).code, 0) // not to wait for the breaker
  await haveOutcome(relay, all, ids(sick), { destination: 'sick' })
}

// The log names the destination and what is wrong with it, once a minute and not for each event.
async function logSays(relay, message, error = /(?:)/) {
  const lines = await relay.saysOnce(message)
  assert.ok(lines.every((line) => line.destination === 'sick') && lines.some((line) => error.test(line.error)), JSON.stringify(lines))
}

const FAILED = 'delivery failed: it is tried again'

const TROUBLES = {
  'hangs': [HANG, FAILED],
  'cuts every connection': [CUT, FAILED],
  'drips its answers': [DRIP, FAILED],
  'answers 500': [{ status: 500 }, FAILED],
  'answers 429 with Retry-After': [{ status: 429, headers: { 'retry-after': '3600' } }, FAILED],
  'answers 401': [{ status: 401 }, 'destination parked: repair it, then `tidegate resume`'],
}

for (const [trouble, [answer, says]] of Object.entries(TROUBLES)) {
  test(`a partner that ${trouble}`, async (t) => {
    const sick = await Partner.start(t, { answer })
    const { relay, well } = await pair(t, sick.url, { sick: { timeout: '1s' } })
    const all = await wellGetsAll(relay, well)
    await logSays(relay, says)
    await sick.stop() // whoever still hangs is let go
    sick.answer = { status: 200 }
    sick.requests.length = 0
    await sick.start()
    await sickGetsAll(relay, sick, all)
  })
}

test('a partner that refuses connections', async (t) => {
  const sick = await Partner.start(t)
  await sick.stop()
  const { relay, well } = await pair(t, sick.url)
  const all = await wellGetsAll(relay, well)
  await logSays(relay, FAILED, /connect/i)
  await logSays(relay, 'destination fails: one probe at a time until it works', /connect/i)
  await sick.start()
  await sickGetsAll(relay, sick, all)
})

// Bytes that are not HTTP, half a head, a body shorter than announced: as no answer. The event is tried again.
const BROKEN = {
  'something that is not HTTP': 'SSH-2.0-OpenSSH_9.2\r\n',
  'half a head': 'HTTP/1.1 200 OK\r\nContent-Le',
  'half a body': 'HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nhalf',
  'a broken chunk': 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n',
  'nothing': '',
}

for (const [what, bytes] of Object.entries(BROKEN)) {
  test(`an answer that is ${what}`, async (t) => {
    let asked = 0
    const server = createServer((socket) => {
      socket.on('error', () => {})
      socket.once('data', () => {
        asked++
        socket.end(bytes)
      })
    })
    await new Promise((done) => { server.listen(0, '127.0.0.1', done) })
    t.after(() => server.close())
    const { relay, well } = await pair(t, `http://127.0.0.1:${server.address().port}`)
    const all = await wellGetsAll(relay, well)
    await logSays(relay, FAILED, /./)
    assert.ok(asked > 0)
    const sick = await Partner.start(t)
    relay.config.destinations.sick.settings.url = sick.url
    relay.write()
    assert.equal((await relay.command('reload')).code, 0)
    await sickGetsAll(relay, sick, all)
  })
}

// Ten megabytes in answer to each event: no more of it is kept than is allowed, and the status counts.
test('a partner that answers at great length', async (t) => {
  const body = Buffer.alloc(10 << 20, 'x')
  const sick = await Partner.start(t, { answer: { status: 200, body } })
  const { relay, well } = await pair(t, sick.url)
  const all = await accepted(relay, Array.from({ length: 60 }, () => track('E')))
  await haveOutcome(relay, all, ids(well), { destination: 'well' })
  await haveOutcome(relay, all, ids(sick), { destination: 'sick' })
  await until('they count as delivered', async () => await relay.metric('tidegate_events_delivered_total', { destination: 'sick' }) === 60)
  await memoryIsBounded(relay)
  assert.deepEqual(await relay.dead(), [])
  await relay.saysOnce('answer is too long: its rest is not read, its connection dropped')
})

// The same with 400: the dead letter keeps the beginning.
test('a partner that refuses at great length', async (t) => {
  const sick = await Partner.start(t, { answer: { status: 400, body: Buffer.alloc(10 << 20, 'x') } })
  const { relay } = await pair(t, sick.url)
  await accepted(relay, [track('E')])
  const [letter] = await until('it is a dead letter', async () => (await relay.dead()).length && relay.dead())
  assert.equal(letter.reason, 'http_400')
  await logSays(relay, 'event becomes a dead letter')
  const shown = await relay.command('dead', 'show', String(letter.id))
  assert.equal(shown.code, 0, shown.stderr)
  assert.ok(shown.stdout.includes('xxxx') && shown.stdout.length < 20_000, `${shown.stdout.length} bytes`)
  await memoryIsBounded(relay)
})

// A name that does not resolve blocks nobody and is waited out; the reason is on the retry.
test('a name that does not resolve', async (t) => {
  const { relay, well } = await pair(t, 'http://no.such.invalid/', { Relay: FaultyRelay })
  const all = await wellGetsAll(relay, well)
  await until('the reason is counted', async () => await relay.metric('tidegate_events_retried_total', { destination: 'sick', reason: 'network_error' }) > 0)
  await logSays(relay, FAILED, /resolve/i)
  const sick = await Partner.start(t)
  relay.config.destinations.sick.settings.url = sick.url
  relay.write()
  assert.equal((await relay.command('reload')).code, 0)
  await sickGetsAll(relay, sick, all)
})

// A name server that says nothing: only the destination whose name it is waits, and a stop does not wait for it.
test('a name server that does not answer', async (t) => {
  const { relay, well } = await pair(t, 'http://partner.hangs.invalid/', { sick: { timeout: '1s' }, Relay: FaultyRelay })
  const all = await wellGetsAll(relay, well)
  await logSays(relay, FAILED, /timed out/i)
  assert.deepEqual(await relay.stop(), { code: 0, signal: null })
  const sick = await Partner.start(t)
  relay.config.destinations.sick.settings.url = sick.url
  await relay.start()
  await sickGetsAll(relay, sick, all)
})

// A certificate that nobody vouches for, and a server that speaks no TLS: nothing is sent to either.
test("a partner's TLS is broken", async (t) => {
  const dir = folder(t)
  const good = certificate(dir, 'good')
  const sick = await Partner.start(t, { tls: certificate(dir, 'stranger') })
  const { relay, well } = await pair(t, sick.url, { config: { egress: { allow_private: true, ca_file: good.caFile } } })
  const all = await wellGetsAll(relay, well)
  assert.equal(sick.requests.length, 0)
  await logSays(relay, FAILED, /certificate/i)
  const plain = createServer((socket) => {
    socket.on('error', () => {})
    socket.on('data', () => socket.end('HTTP/1.1 400 Bad Request\r\n\r\n'))
  })
  await new Promise((done) => { plain.listen(0, '127.0.0.1', done) })
  t.after(() => plain.close())
  relay.config.destinations.sick.settings.url = `https://127.0.0.1:${plain.address().port}`
  relay.write()
  assert.equal((await relay.command('reload')).code, 0)
  all.push(...await wellGetsAll(relay, well))
  await sick.stop()
  sick.tls = good
  await sick.start()
  relay.config.destinations.sick.settings.url = sick.url
  relay.write()
  assert.equal((await relay.command('reload')).code, 0)
  await sickGetsAll(relay, sick, all)
})

// A script that takes long for each event shares the worker: the other destination goes on.
test('a script that takes 50 ms an event', async (t) => {
  const scripts = folder(t)
  mkdirSync(join(scripts, 'slow'))
  writeFileSync(join(scripts, 'slow/init.lua'), `local tidegate = require "tidegate"
return {
  name = "Slow",
  settings = { url = { type = "url", required = true } },
  on = { track = function(event, settings)
    local n = 0
    for _ = 1, 80000 do n = n + #tidegate.sha1(event.messageId) end
    tidegate.deliver { method = "POST", url = settings.url, json = { messageId = event.messageId } }
  end },
}
`)
  const sick = await Partner.start(t)
  const { relay, well } = await pair(t, sick.url, {
    sick: { script: 'slow', settings: { url: sick.url } },
    config: { scripts: [scripts], script: { soft_limit: '10s', hard_limit: '20s' } },
  })
  const all = await accepted(relay, Array.from({ length: 4 * BATCH }, () => track('E'))) // all at once: five seconds' work
  await haveOutcome(relay, all, ids(well), { destination: 'well' })
  await haveOutcome(relay, all, ids(sick), { destination: 'sick' })
  assert.ok(well.requests.at(-1).at < sick.requests.at(-1).at, 'the slow one was still at it')
})
