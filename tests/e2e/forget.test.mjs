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

const of = (user, id, more) => track('E', { userId: user, messageId: id, ...more })

// Letters at one destination, retries at a second, the log of a third, paused one: nothing of the user is left in any,
// nothing of others is missing. Later events of the user pass.
async function everywhere(t, { running }) {
  const refuses = await Partner.start(t, { answer: { status: 400 } })
  const fails = await Partner.start(t, { answer: { status: 429 } })
  const waits = await Partner.start(t)
  const relay = await new Relay(t, {
    sources: [{ name: 'web', write_key: WRITE_KEY, allow_delete: true }],
    destinations: {
      refuses: hook(refuses), fails: hook(fails, { retry: { first: '1h', max: '2h' } }), waits: hook(waits),
    },
  }).start()
  assert.equal((await relay.command('pause', 'waits')).code, 0)
  await accepted(relay, [of(USER, 'm-1'), of('other', 'm-2'), { type: 'delete', userId: USER, messageId: 'm-3' },
    { type: 'nonsense', userId: USER, messageId: 'm-4' }])
  await until('three letters and what was set aside', async () => (await relay.dead()).length === 4)
  await until('three retries', async () => (await relay.destination('fails')).retries === 3)
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
  await until('all are through', async () => {
    const d = await relay.destination('waits')
    return d.backlog_events === 0 && d.in_flight === 0
  })
  assert.deepEqual(waits.messageIds().sort(), ['m-2', 'm-3', 'm-5'], 'the request for deletion passes, and who comes back')
  assert.equal(await relay.metric('tidegate_events_skipped_total', { destination: 'waits', reason: 'forgotten' }), 1)
  return relay
}

test('while the relay runs', async (t) => {
  const relay = await everywhere(t, { running: true })
  const again = await relay.command('forget', '--user-id', 'somebody else')
  assert.match(again.stdout, /removed 0 waiting retries, 0 dead letters and 0 events/)
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
  await until('all are through', async () => (await relay.destination('hook')).backlog_events === 0)
  assert.deepEqual(partner.messageIds(), ['m-2'])
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
