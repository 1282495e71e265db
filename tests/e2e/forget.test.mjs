// A user's events are taken out of everything that waits, and what lies in the log is hidden.

import assert from 'node:assert/strict'
import test from 'node:test'

import { Partner } from './lib/partner.mjs'
import { Relay, WRITE_KEY } from './lib/relay.mjs'
import { accepted, track } from './lib/sender.mjs'
import { until } from './lib/wait.mjs'

const USER = 'user Ünknown, 1'

function hook(partner, more) {
  return { script: 'webhook', settings: { url: `${partner.url}/in` }, retry: { first: '50ms', max: '300ms' }, ...more }
}

// Anywhere within a day: hardly ever while the test looks.
const RARELY = { retry: { first: '24h', max: '24h', deadline: '48h' } }

const of = (user, id, more) => track('E', { userId: user, messageId: id, ...more })

// Letters at one destination, retries at a second, the log of a third, paused one: nothing of the user is left in any,
// nothing of others is missing. Later events of the user pass.
async function everywhere(t, { running }) {
  const refuses = await Partner.start(t, { answer: { status: 400 } })
  const fails = await Partner.start(t, { answer: { status: 429 } })
  const waits = await Partner.start(t)
  const relay = await new Relay(t, {
    sources: [{ name: 'web', write_key: WRITE_KEY, allow_delete: true }],
    destinations: { refuses: hook(refuses), fails: hook(fails, RARELY), waits: hook(waits) },
  }).start()
  assert.equal((await relay.command('pause', 'waits')).code, 0)
  await accepted(relay, [of(USER, 'm-1', { integrations: { All: true } }), of('other', 'm-2'), { type: 'delete', userId: USER, messageId: 'm-3' },
    { type: 'nonsense', userId: USER, messageId: 'm-4' }])
  await until('three letters and what was set aside', async () => (await relay.dead()).length === 4)
  await until('three retries', async () => (await relay.destination('fails')).retries === 3)
  // What is just being tried again is the worker's to remove, and is counted as skipped.
  assert.equal((await relay.command('pause', 'fails')).code, 0)
  if (!running) await relay.killAll()
  const { code, stdout, stderr } = await relay.command('forget', '--user-id', USER)
  assert.deepEqual([code, stderr], [0, ''])
  assert.match(stdout, /removed 1 waiting retry, 1 dead letter and 1 event that ingest had set aside$/m)
  assert.match(stdout, /in the event log is hidden/)
  if (!running) await relay.start()
  assert.deepEqual((await relay.dead()).map((l) => l.messageId).sort(), ['m-2', 'm-3'])
  await accepted(relay, [of(USER, 'm-5')])
  assert.equal((await relay.command('resume', 'waits')).code, 0)
  await waits.arrived(3)
  await relay.through('waits')
  assert.deepEqual(waits.messageIds().sort(), ['m-2', 'm-3', 'm-5'], 'the request for deletion passes, and who comes back')
  assert.equal(await relay.metric('tidegate_events_skipped_total', { destination: 'waits', reason: 'forgotten' }), 1)
  return relay
}

test('while the relay runs', async (t) => {
  const relay = await everywhere(t, { running: true })
  const again = await relay.command('forget', '--user-id', 'somebody else')
  assert.match(again.stdout, /removed 0 waiting retries, 0 dead letters and 0 events/)
  const { stdout } = await relay.command('forget', '--user-id', 'some "other"', '--json')
  assert.deepEqual(JSON.parse(stdout), { userId: 'some "other"', retries: 0, dead: 0, set_aside: 0, running: true })
})

test('while the relay is down', async (t) => {
  await everywhere(t, { running: false })
})

// A tombstone outlives kills: what is in the log stays hidden.
test('after SIGKILL', async (t) => {
  const partner = await Partner.start(t)
  const relay = await new Relay(t, { destinations: { hook: hook(partner) } }).start()
  assert.equal((await relay.command('pause', 'hook')).code, 0)
  await accepted(relay, [of(USER, 'm-1'), of('other', 'm-2')])
  assert.equal((await relay.command('forget', '--user-id', USER)).code, 0)
  await relay.killAll()
  await relay.start()
  await until('it is paused still', async () => (await relay.destination('hook')).state === 'paused')
  assert.equal((await relay.command('resume', 'hook')).code, 0)
  await partner.arrived(1)
  await relay.through('hook')
  assert.deepEqual(partner.messageIds(), ['m-2'])
})

// A batch on the wire cannot be called back; when it is refused, what of it is sent again holds nothing of the user.
test('a batch that is halved', async (t) => {
  let answer
  const forgotten = new Promise((done) => { answer = done })
  const partner = await Partner.start(t, { answer: async (r) => {
    await forgotten
    return { status: r.body.includes('m-bad') ? 400 : 200 }
  } })
  const relay = await new Relay(t, {
    workers: 1,
    destinations: {
      hook: hook(partner, { timeout: '10m', settings: { url: `${partner.url}/in`, batchSize: 4, batchWaitMs: 60000 } }),
    },
  }).start()
  await accepted(relay, [of(USER, 'm-1'), of('other', 'm-bad'), of(USER, 'm-2'), of('other', 'm-3')])
  await partner.arrived(1)
  assert.equal((await relay.command('forget', '--user-id', USER)).code, 0)
  const before = partner.requests.length
  answer()
  await relay.through('hook')
  assert.deepEqual(partner.requests.slice(before).flatMap((r) => JSON.parse(r.body)).map((e) => e.messageId).sort(), ['m-3', 'm-bad'])
  assert.deepEqual((await relay.dead()).map((l) => l.messageId), ['m-bad'])
  assert.equal(await relay.metric('tidegate_events_skipped_total', { destination: 'hook', reason: 'forgotten' }), 2)
})

// --- by a delete event of a source that has forget_on_delete ---

const gone = (user, id) => ({ type: 'delete', userId: user, messageId: id })
const FORGETS = [{ name: 'web', write_key: WRITE_KEY, allow_delete: true, forget_on_delete: true },
  { name: 'other', write_key: 'other-key', allow_delete: true }]

// Letters at one destination, retries at a second, the log of a third: all of the user's is gone, the request itself is
// delivered, and what comes behind it too.
for (const killed of [false, true]) {
  test(`a delete event${killed ? ', and SIGKILL behind its answer' : ''}`, async (t) => {
    const refuses = await Partner.start(t, { answer: { status: 400 } })
    const fails = await Partner.start(t, { answer: { status: 429 } })
    const waits = await Partner.start(t)
    const relay = await new Relay(t, {
      sources: FORGETS, workers: 3,
      destinations: { refuses: hook(refuses), fails: hook(fails, RARELY), waits: hook(waits) },
    }).start()
    assert.equal((await relay.command('pause', 'waits')).code, 0)
    for (const id of ['m-1', 'm-2', 'm-3']) await accepted(relay, [of(USER, id)])
    await accepted(relay, [of('other', 'm-4'), { type: 'nonsense', userId: USER, messageId: 'm-5' }])
    await until('letters and what was set aside', async () => (await relay.dead()).length === 5)
    await until('retries', async () => (await relay.destination('fails')).retries === 4)
    await accepted(relay, [gone(USER, 'd-1')])
    if (killed) {
      await relay.killAll()
      await relay.start()
    }
    await accepted(relay, [of(USER, 'm-6')])
    const left = (id) => ['m-4', 'm-6', 'd-1'].includes(id)
    await until('the letters are gone', async () => {
      const ids = (await relay.dead()).map((l) => l.messageId).sort()
      if (ids.every(left) && ids.length === 3) return true
      throw new Error(ids)
    })
    await until('the retries are gone', async () => {
      const { retries } = await relay.destination('fails')
      if (retries === 3) return true
      throw new Error(`${retries} retries`)
    })
    assert.equal((await relay.command('resume', 'waits')).code, 0)
    await waits.arrived(3)
    await relay.through('waits')
    assert.deepEqual(waits.messageIds().sort(), ['d-1', 'm-4', 'm-6'])
    // Where it is killed, that may be before or behind any step of it: whether it came to tell and to count, nobody knows.
    if (!killed) await relay.says('users forgotten, as delete events asked')
    assert.doesNotMatch(relay.log, /Ünknown/, 'who it was is no matter of the log')
    if (killed) return
    assert.equal(await relay.metric('tidegate_users_forgotten_total'), 1)
    assert.equal(await relay.metric('tidegate_forgotten_rows_total'), 3 + 3 + 1)
  })
}

// At whatever moment the relay is killed behind the answer, and again while it carries the order out, it is carried out.
test('SIGKILL again and again', async (t) => {
  const refuses = await Partner.start(t, { answer: (r) => ({ status: r.body.includes('"delete"') ? 200 : 400 }) })
  const relay = await new Relay(t, {
    sources: FORGETS, workers: 2, destinations: { refuses: hook(refuses) },
  }).start()
  for (let round = 0; round < 4; round++) {
    const user = `u-${round}`
    await accepted(relay, Array.from({ length: 15 }, (_, i) => of(user, `m-${round}-${i}`)))
    await until('the letters', async () => (await relay.dead()).filter((l) => l.event.userId === user).length >= 15)
    await accepted(relay, [gone(user, `d-${round}`)])
    await relay.killAll()
    relay.launch()
    await until('it has begun', () => round % 2 ? relay.lines('ready').length : relay.lines('spool opened').length >= 2)
    await relay.killAll()
    await relay.start()
    await until(`nothing is left of ${user}`, async () =>
      (await relay.dead()).every((l) => l.event.userId !== user || l.event.type === 'delete'))
  }
})

// A whole batch of them is one pass; a source without the option forgets nobody; misuse of the option is told.
test('many delete events, and those of others', async (t) => {
  const waits = await Partner.start(t)
  const relay = await new Relay(t, { sources: FORGETS, destinations: { waits: hook(waits) } }).start()
  assert.equal((await relay.command('pause', 'waits')).code, 0)
  const users = Array.from({ length: 300 }, (_, i) => `user ${i}`)
  await accepted(relay, users.map((user, i) => of(user, `m-${i}`)))
  await accepted(relay, [of('kept', 'k-1')])
  await accepted(relay, [gone('kept', 'k-2')], { key: 'other-key' })
  await accepted(relay, users.map((user, i) => gone(user, `d-${i}`)))
  assert.equal((await relay.command('resume', 'waits')).code, 0)
  await waits.arrived(302)
  await relay.through('waits')
  assert.deepEqual(waits.messageIds().sort(), ['k-1', 'k-2', ...users.map((_, i) => `d-${i}`)].sort())
  assert.equal(await relay.metric('tidegate_users_forgotten_total'), 300)
  await relay.stop()
  relay.config.sources = [{ name: 'web', write_key: WRITE_KEY, forget_on_delete: true }]
  relay.write()
  const { code, stderr } = await relay.command('check')
  assert.equal(code, 1)
  assert.match(stderr, /sources\[1\]\.forget_on_delete: needs allow_delete = true/)
})

test('misuse', async (t) => {
  const relay = new Relay(t)
  relay.write()
  assert.equal((await relay.command('forget')).code, 2)
  assert.equal((await relay.command('forget', '--user-id', '')).code, 2)
  assert.equal((await relay.command('forget', '--user-id', 'u', 'more')).code, 2)
  const nowhere = await relay.command('forget', '--user-id', 'u')
  assert.equal(nowhere.code, 1)
  assert.match(nowhere.stderr, /spool.*No such file/)
})
