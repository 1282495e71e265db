// The disk of the spool fails, once and for good, becomes slow, read-only, full. What was acknowledged has an outcome in
// the end, senders are always answered, and what ails is in the log.

import assert from 'node:assert/strict'
import test from 'node:test'

import { Partner } from '../e2e/lib/partner.mjs'
import { accepted, send, track } from '../e2e/lib/sender.mjs'
import { until } from '../e2e/lib/wait.mjs'
import { FaultyRelay, SEGMENTS, STATE } from './lib/faults.mjs'
import { haveOutcome, Load, memoryIsBounded, randoms } from './lib/load.mjs'

const SEED = Number(process.env.SEED ?? Date.now() % 1e6)
const CLOSED = 'spool: nothing is accepted until the disk takes it again'
const OPEN = 'spool: accepting again'
const FOR_LONG = 600_000 // ms; the test ends it

function hook(partner, more = {}) {
  return { script: 'webhook', settings: { url: partner.url }, retry: { first: '20ms', max: '200ms' }, ...more }
}

async function faulty(t, more = {}) {
  const partner = await Partner.start(t)
  const relay = await new FaultyRelay(t, { workers: 1, destinations: { hook: hook(partner) }, ...more }).start()
  relay.open = true
  return { partner, relay }
}

async function post(relay, event = track('E')) {
  const answer = await send(relay, '/v1/track', { body: event })
  return { ...answer, id: event.messageId }
}

// Posts until the answer is `status`; the ids of what was answered 200 on the way are added to `ids`.
async function postUntil(relay, status, ids) {
  return until(`an event is answered ${status}`, async () => {
    const answer = await post(relay)
    if (answer.status === 200) ids.push(answer.id)
    return answer.status === status && answer
  }, { seconds: 30 })
}

// A line of the log, which comes by a pipe of its own and so perhaps after the answer.
async function line(relay, message) {
  return until(`the log says: ${message}`, () => relay.lines(message)[0])
}

function refusedProperly(answer) {
  assert.equal(answer.status, 503)
  assert.match(answer.headers['retry-after'], /^[1-9]\d*$/)
  assert.equal(JSON.parse(answer.body).success, false)
}

for (const what of ['write', 'sync']) {
  // One failure costs the group that it hit, which is refused; the next is accepted into a new segment.
  test(`one I/O error of ${what}`, async (t) => {
    const { partner, relay } = await faulty(t)
    const ids = [(await post(relay)).id]
    relay.fail(what, { count: 1, files: SEGMENTS })
    const refused = await post(relay)
    refusedProperly(refused)
    assert.equal(relay.hits(what), 1)
    await postUntil(relay, 200, ids)
    await haveOutcome(relay, ids, () => new Set(partner.messageIds()))
    assert.ok(!partner.messageIds().includes(refused.id), 'what was refused is not delivered while the process lives')
    assert.ok((await line(relay, CLOSED)).error.includes('Input/output error'), relay.log)
    await relay.killAll()
    await relay.start()
    ids.push((await post(relay)).id)
    await haveOutcome(relay, ids, () => new Set(partner.messageIds()))
    assert.equal((await relay.command('spool', 'verify')).code, 0)
  })

  // For good: nothing is acknowledged any more, senders hear so at once, the relay says why and lives; what was taken
  // before is delivered. When the disk is back, so is the relay.
  test(`I/O errors of ${what} without end`, async (t) => {
    const { partner, relay } = await faulty(t)
    const ids = [(await post(relay)).id]
    relay.fail(what)
    for (let i = 0; i < 20; i++) refusedProperly(await post(relay))
    await until('it is not ready', async () => (await relay.admin('/readyz')).status === 503)
    assert.match((await relay.admin('/readyz')).text, /Input\/output error/)
    await haveOutcome(relay, ids, () => new Set(partner.messageIds()))
    assert.equal((await relay.admin('/healthz')).status, 200)
    await memoryIsBounded(relay)
    relay.heal(what)
    await postUntil(relay, 200, ids)
    await line(relay, OPEN)
    await haveOutcome(relay, ids, () => new Set(partner.messageIds()))
    assert.deepEqual(await relay.stop(), { code: 0, signal: null })
  })
}

// A write may take fewer bytes than it was given: the rest follows.
test('short writes', async (t) => {
  const { partner, relay } = await faulty(t)
  relay.shortenWrites(true)
  const ids = await accepted(relay, Array.from({ length: 50 }, () => track('Short', { properties: { pad: 'x'.repeat(1000) } })))
  await haveOutcome(relay, ids, () => new Set(partner.messageIds()))
  await relay.killAll()
  relay.shortenWrites(false)
  await relay.start()
  assert.equal((await relay.command('spool', 'verify')).code, 0)
})

// SQLite's file fails while the log does not: failed events can be neither retried nor buried, so they stay where they
// are; a destination that succeeds goes on, and nothing is lost once the disk is back.
test('the state cannot be written', async (t) => {
  const sick = await Partner.start(t, { answer: { status: 422 } })
  const { partner, relay } = await faulty(t)
  relay.config.destinations.sick = hook(sick)
  await relay.restart()
  relay.fail('write', { files: STATE })
  relay.fail('sync', { files: STATE })
  const ids = []
  for (let i = 0; i < 5; i++) ids.push(...await accepted(relay, [track('E')]))
  await haveOutcome(relay, ids, () => new Set(partner.messageIds()), { destination: 'hook' })
  await sick.arrived(5)
  assert.deepEqual(await relay.dead('--dest', 'sick'), [])
  const [told] = await relay.says('state cannot be written; trying again')
  assert.match(told.error, /state\.db: .*error/)
  relay.heal('write')
  relay.heal('sync')
  await haveOutcome(relay, ids, () => new Set(), { destination: 'sick' })
  await line(relay, 'state is written again')
  await relay.saysOnce('state cannot be written; trying again') // and not five times a second
})

// A disk that takes 10 ms for each sync slows acknowledgements, and nothing else.
test('a slow disk', async (t) => {
  const { partner, relay } = await faulty(t)
  relay.slowSync(10)
  const load = new Load(relay, randoms(SEED))
  await load.more(60)
  await load.stop()
  assert.deepEqual(load.refusals, [])
  await haveOutcome(relay, [...load.acknowledged.keys()], () => new Set(partner.messageIds()))
})

// While one sync stalls, the loop does not: who asks is answered, what was durable before is delivered, and the sender
// whose event waits for the sync gets its 200 after it.
test('a stalled sync', async (t) => {
  const { partner, relay } = await faulty(t)
  await post(relay)
  await partner.arrived(1)
  relay.slowSync(FOR_LONG)
  let answered = false
  const waiting = post(relay).then((answer) => {
    answered = true
    return answer
  })
  for (let i = 0; i < 10; i++) assert.equal((await send(relay, '/v1/track', { key: 'unknown', body: track('E') })).status, 401)
  assert.equal((await relay.admin('/healthz')).status, 200)
  assert.equal(answered, false, 'nothing is acknowledged before its sync')
  relay.slowSync(0)
  const { status, id } = await waiting
  assert.equal(status, 200)
  await haveOutcome(relay, [id], () => new Set(partner.messageIds()))
})

// Read-only from one moment to the next, as a file system becomes after errors of its own: as with other errors, and
// what is delivered meanwhile is not forgotten, only perhaps repeated.
test('a disk that becomes read-only', async (t) => {
  const { partner, relay } = await faulty(t)
  const held = []
  partner.answer = () => new Promise((done) => { held.push(() => done({ status: 200 })) })
  const ids = await accepted(relay, [track('A'), track('B')])
  await partner.arrived(2)
  relay.readOnly(true)
  refusedProperly(await post(relay))
  assert.match((await line(relay, CLOSED)).error, /Read-only file system/)
  for (const release of held) release()
  partner.answer = { status: 200 }
  await until('both are delivered', async () => await relay.metric('tidegate_events_delivered_total') === 2)
  await memoryIsBounded(relay)
  relay.readOnly(false)
  await postUntil(relay, 200, ids)
  await haveOutcome(relay, ids, () => new Set(partner.messageIds()))
  await relay.restart()
  ids.push((await post(relay)).id)
  await haveOutcome(relay, ids, () => new Set(partner.messageIds()))
})

// A spool that cannot be written at all: the start says why and ends.
test('a start on a disk that cannot be written', async (t) => {
  const { relay } = await faulty(t)
  await relay.stop()
  relay.readOnly(true)
  relay.launch()
  const { code } = await relay.ended
  assert.equal(code, 1)
  assert.match(relay.log.slice(relay.runFrom), /Read-only file system/)
})

// --- full ------------------------------------------------------------------------------------------------------------

const DISK = 24 << 20

// The disk is filled by events that a refusing partner does not take; when it takes them, the spool drains and the
// relay accepts again. One destination's events become dead letters, whose rows need room on the full disk.
async function fillAndDrain(relay, partner, sick) {
  const ids = []
  const got = new Set() // the partner's list is too long to be read again and again
  partner.answer = { status: 503 }
  const refused = await until('the disk is full', async () => {
    const events = Array.from({ length: 40 }, () => track('Fill', { properties: { pad: 'x'.repeat(20_000) } }))
    const answer = await send(relay, '/v1/batch', { body: { batch: events } })
    if (answer.status !== 200) return answer
    ids.push(...events.map((e) => e.messageId))
  }, { seconds: 60 })
  refusedProperly(refused)
  assert.ok(ids.length > 40)
  assert.match((await line(relay, CLOSED)).error, /No space left|full/)
  await memoryIsBounded(relay)
  partner.answer = (request) => {
    partner.requests.length = 0
    got.add(JSON.parse(request.body).messageId)
    return { status: 200 }
  }
  assert.equal((await relay.command('resume', 'hook')).code, 0) // not to wait for the breaker
  await haveOutcome(relay, ids, () => got, { destination: 'hook', seconds: 120 })
  await postUntil(relay, 200, ids)
  await line(relay, OPEN)
  await haveOutcome(relay, ids, () => got, { destination: 'hook' })
  await sick.arrived(1)
  await relay.killAll()
  await relay.start()
  await postUntil(relay, 200, ids)
  await haveOutcome(relay, ids, () => got, { destination: 'hook' })
}

function tight(partner, sick) {
  return {
    workers: 1,
    spool: { path: './spool', max_bytes: '32MiB' },
    destinations: {
      hook: hook(partner, { retry: { first: '50ms', max: '500ms' } }),
      sick: { script: 'webhook', settings: { url: sick.url }, sources: ['few'] },
    },
    sources: [{ name: 'web', write_key: 'e2e-write-key' }, { name: 'few', write_key: 'few' }],
  }
}

test('a full disk drains', async (t) => {
  const partner = await Partner.start(t)
  const sick = await Partner.start(t, { answer: { status: 422 } })
  const relay = new FaultyRelay(t, tight(partner, sick))
  relay.diskOf(DISK)
  await relay.start()
  await accepted(relay, [track('Sick')], { key: 'few' })
  await fillAndDrain(relay, partner, sick)
})
