// Ceilings of a destination: what waits for it and what it has refused must not take the disk from the others.

import assert from 'node:assert/strict'
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import test from 'node:test'

import { Partner } from './lib/partner.mjs'
import { folder, Relay } from './lib/relay.mjs'
import { accepted, send, track } from './lib/sender.mjs'
import { until } from './lib/wait.mjs'

const SMALL = { workers: 1, spool: { path: './spool', max_bytes: '4MiB' } }
const QUICK = { retry: { first: '50ms', max: '300ms' } }

const big = (id, more) => track('Sale', { messageId: id, properties: { filler: 'x'.repeat(4000) }, ...more })

function hook(partner, more) {
  return { script: 'webhook', settings: { url: `${partner.url}/in` }, ...QUICK, ...more }
}

// A script that wants its events called Bad again a day later, to the second: what the schedule says is drawn by lot, and
// may be soon.
function patient(t, partner, more) {
  const scripts = folder(t)
  mkdirSync(join(scripts, 'patient'))
  writeFileSync(join(scripts, 'patient/init.lua'), `local tidegate = require "tidegate"
    return { name = "Patient", settings = { url = { type = "url", required = true } }, on = { track = function(event, settings)
      if event.event == "Bad" then tidegate.retry("later", 86400) end
      tidegate.deliver { url = settings.url, json = { messageId = event.messageId } }
    end } }`)
  const hook = { script: 'patient', settings: { url: `${partner.url}/in` }, retry: { deadline: '400d' }, ...more }
  return { ...SMALL, scripts: [scripts], destinations: { hook } }
}

// Four times what the spool holds goes through one destination while the other's partner is down: ingest never stops, and
// every event ends at both, as a delivery or a dead letter.
test('a dead partner beside one that goes on', async (t) => {
  const gone = await Partner.start(t)
  const well = await Partner.start(t)
  await gone.stop()
  const relay = await new Relay(t, {
    ...SMALL,
    destinations: {
      gone: hook(gone, { backlog: { max_bytes: '1MiB' }, dead: { max_bytes: '1GiB' } }),
      well: hook(well),
    },
  }).start()
  const ids = []
  for (let round = 0; round < 40; round++) {
    const events = Array.from({ length: 100 }, (_, i) => big(`m-${round}-${i}`))
    await until('the relay takes it', async () => {
      const answer = await send(relay, '/v1/batch', { body: { batch: events } })
      if (answer.status !== 200) throw new Error(`${answer.status} ${answer.body}`)
      return true
    })
    ids.push(...events.map((e) => e.messageId))
    await until('the other partner has them', () => well.requests.length >= ids.length)
  }
  assert.equal(new Set(well.messageIds()).size, ids.length)
  await until('its backlog is within its ceiling',
    async () => (await relay.freshStatus()).destinations.gone.backlog_bytes <= 1024 * 1024)
  const given = await relay.metric('tidegate_events_dead_total', { destination: 'gone', reason: 'backlog_full' })
  assert.ok(given > 3000, `${given} given up`)
  await gone.start()
  assert.equal((await relay.command('resume', 'gone')).code, 0)
  await relay.through('gone')
  const dead = await relay.dead('--dest', 'gone')
  const ended = new Set([...gone.messageIds(), ...dead.map((l) => l.messageId)])
  assert.equal(ended.size, ids.length)
  assert.ok(dead.every((l) => l.reason.startsWith('backlog_full')))
})

// What waits for a retry counts too: the oldest of it leaves, each way it may be told to.
async function retries(t, backlog, gone) {
  const partner = await Partner.start(t)
  const ceiling = 100 * 1024
  const relay = await new Relay(t, patient(t, partner, {
    concurrency: 1, dead: { max_bytes: '1GiB' }, backlog: { max_bytes: '100KiB', ...backlog },
  })).start()
  const bad = []
  for (let i = 0; i < 100; i++) {
    bad.push(`bad-${i}`)
    await accepted(relay, [big(`good-${i}`), big(`bad-${i}`, { event: 'Bad' })])
    await partner.arrived(i + 1)
  }
  const d = await until('all have an outcome, and it is within its ceiling', async () => {
    const seen = (await relay.freshStatus()).destinations.hook
    const left = await gone(relay)
    if (seen.backlog_events === 0 && seen.retries + left === 100 && seen.retry_bytes <= ceiling) return seen
    throw new Error(`${left} gone, ${JSON.stringify(seen)}`)
  }, { seconds: 60 })
  assert.ok(d.retries >= 5 && d.retries <= 25, `${d.retries} retries`)
  await until('the metric knows of them', async () => await relay.metric('tidegate_retry_bytes', { destination: 'hook' }) > 0)
  return { relay, bad, kept: d.retries }
}

test('retries above the ceiling become dead letters', async (t) => {
  const { relay, bad, kept } = await retries(t, {}, async (r) => (await r.dead('--dest', 'hook')).length)
  const dead = await relay.dead('--dest', 'hook')
  assert.ok(dead.every((l) => l.reason.startsWith('backlog_full') && l.attempts === 1))
  assert.deepEqual(dead.map((l) => l.messageId).sort(), bad.slice(0, 100 - kept).sort(), 'the oldest')
  await until('what is used of its ceilings and what is free can be seen', async () => {
    const seen = await relay.destination('hook')
    const metric = (name) => relay.metric(`tidegate_${name}`, { destination: 'hook' })
    for (const name of ['dead_bytes', 'dead_free_bytes', 'backlog_bytes', 'backlog_free_bytes'])
      if (await metric(name) !== seen[name]) throw new Error(`${name}: ${await metric(name)}, ${JSON.stringify(seen)}`)
    const whole = seen.dead_bytes > 0 && seen.dead_bytes + seen.dead_free_bytes === 1024 ** 3
    return whole && seen.backlog_bytes + seen.retry_bytes + seen.backlog_free_bytes === 100 * 1024
  })
  assert.match((await relay.command('status')).stdout, /disk: waiting \d+\.\d KiB used, \d+(\.\d)? \w+ free; dead letters \d+\.\d \wiB used, 10\d\d\.\d MiB free/)
  await relay.restart()
  await until('the rest waits', async () => (await relay.destination('hook')).retries === kept)
  assert.equal((await relay.dead()).length, 100 - kept)
})

test('retries above the ceiling are dropped and counted', async (t) => {
  const { relay } = await retries(t, { on_full: 'drop_oldest' },
    (r) => r.metric('tidegate_events_dropped_total', { destination: 'hook', reason: 'backlog_full' }))
  assert.deepEqual(await relay.dead(), [])
})

// Of a destination that may not send too. Its age counts from when it is asked for.
test('retries that are too old, of a paused destination', async (t) => {
  const partner = await Partner.start(t)
  const relay = await new Relay(t, patient(t, partner)).start()
  await accepted(relay, [big('m-1', { event: 'Bad' })])
  await until('it waits', async () => (await relay.destination('hook')).retries === 1)
  assert.equal((await relay.command('pause', 'hook')).code, 0)
  relay.config.destinations.hook.backlog = { max_age: '2s' }
  relay.write()
  assert.equal((await relay.command('reload')).code, 0)
  const [letter] = await until('it has waited for too long', async () => {
    const letters = await relay.dead()
    return letters.length && letters
  })
  assert.match(letter.reason, /^backlog_too_old/)
  await until('nothing waits', async () => (await relay.destination('hook')).retries === 0)
  assert.deepEqual(partner.requests, [])
})

// The log of a paused destination, and dead letters: dropped and counted.
test('on_full = drop_oldest', async (t) => {
  const partner = await Partner.start(t, { answer: (r) => ({ status: r.body.includes('Bad') ? 400 : 200 }) })
  const relay = await new Relay(t, {
    ...SMALL,
    destinations: {
      waits: hook(partner, { backlog: { max_bytes: '100KiB', on_full: 'drop_oldest' } }),
      refuses: hook(partner, { concurrency: 1, dead: { max_bytes: '100KiB', on_full: 'drop_oldest' } }), // one by one: in order
    },
  }).start()
  assert.equal((await relay.command('pause', 'waits')).code, 0)
  for (let i = 0; i < 60; i++) await accepted(relay, [big(`good-${i}`), big(`bad-${i}`, { event: 'Bad' })])
  const count = (destination, reason) => relay.metric('tidegate_events_dropped_total', { destination, reason })
  await until('the log is within its ceiling, and what left it is counted', async () => {
    const d = await relay.destination('waits')
    const dropped = await count('waits', 'backlog_full')
    if (d.backlog_bytes <= 100 * 1024 && d.backlog_events > 10 && d.backlog_events + dropped === 120) return true
    throw new Error(`${dropped} dropped, ${JSON.stringify(d)}`)
  })
  const letters = await until('the letters are within theirs', async () => {
    const found = await relay.dead('--dest', 'refuses')
    const gone = await count('refuses', 'dead_full')
    return found.length < 30 && found.length + gone === 60 && found
  })
  assert.ok(letters.every((l) => Number(l.messageId.slice(4)) > 20), 'the latest are kept')
  assert.equal((await send(relay, '/v1/track', { body: track('E') })).status, 200, 'ingest goes on')
})

// Dead letters that nobody looks at stop ingest, with the reason in the answer and in /readyz; dropping them ends it.
// A restart changes nothing.
test('dead letters stop ingest', async (t) => {
  const partner = await Partner.start(t, { answer: (r) => ({ status: r.body.includes('Bad') ? 400 : 200 }) })
  const relay = await new Relay(t, {
    ...SMALL, workers: 2, destinations: { hook: hook(partner, { dead: { max_bytes: '20KiB' } }) },
  }).start()
  await accepted(relay, [...Array(5).keys()].map((i) => big(`m-${i}`, { event: 'Bad' })))
  const stopped = async () => {
    const answer = await send(relay, '/v1/track', { body: track('E') })
    return answer.status === 503 && answer
  }
  const answer = await until('ingest stops', stopped)
  const said = JSON.parse(answer.body)
  assert.equal(said.code, 'quota_full')
  assert.match(said.message, /dead letters of destination hook take all of their quota: replay or drop them/)
  assert.ok(Number(answer.headers['retry-after']) >= 1)
  await until('/readyz says so', async () => {
    const { status, text } = await relay.admin('/readyz')
    return status === 503 && /dead letters of destination hook .*\(tidegate dead ls --dest hook\)\n$/.test(text)
  })
  await until('the metric says so', async () => await relay.metric('tidegate_ready') === 0)
  await until('all five are dead letters', async () => (await relay.dead('--dest', 'hook')).length === 5)
  await relay.restart()
  await until('it is stopped still', stopped)
  assert.match((await relay.command('dead', 'drop', '--dest', 'hook')).stdout, /^dropped 5 dead letters/)
  await until('ingest goes on', async () => (await send(relay, '/v1/track', { body: track('E') })).status === 200)
  await until('/readyz is well', async () => (await relay.admin('/readyz')).status === 200)
  await until('the metric is well', async () => await relay.metric('tidegate_ready') === 1)
  assert.ok(Math.abs(await relay.metric('tidegate_start_time_seconds') - Date.now() / 1000) < 600)
})

// What ingest sets aside has a ceiling for each source: a public key cannot fill the disk with rubbish.
test('rubbish does not fill the disk', async (t) => {
  const partner = await Partner.start(t)
  const relay = await new Relay(t, { ...SMALL, destinations: { hook: hook(partner) } }).start()
  const share = 4 * 1024 * 1024 / 50
  for (let i = 0; i < 30; i++) {
    await accepted(relay, Array.from({ length: 5 }, () => big('x', { type: 'nonsense' })))
  }
  const kept = async () => (await relay.dead('--set-aside')).length * 4000
  await until('the oldest have gone', async () => (await kept()) <= share * 1.5)
  await until('they are counted', async () => await relay.metric('tidegate_setaside_dropped_total') > 50)
  assert.ok((await kept()) > share / 4)
  await accepted(relay, [track('E')])
  await partner.arrived(1)
})
