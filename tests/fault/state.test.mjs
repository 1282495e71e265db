// state.db is locked by another process, damaged, missing, removed under a running relay.

import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { existsSync, openSync, closeSync, rmSync, statSync, writeSync } from 'node:fs'
import { join } from 'node:path'
import test from 'node:test'

import { Partner } from '../e2e/lib/partner.mjs'
import { Relay } from '../e2e/lib/relay.mjs'
import { accepted, track } from '../e2e/lib/sender.mjs'
import { until } from '../e2e/lib/wait.mjs'
import { haveOutcome } from './lib/load.mjs'

async function three(t) {
  const partners = {
    well: await Partner.start(t),
    later: await Partner.start(t, { answer: { status: 500 } }),
    never: await Partner.start(t, { answer: { status: 422 } }),
  }
  const destinations = Object.fromEntries(Object.entries(partners).map(([name, partner]) =>
    [name, { script: 'webhook', settings: { url: partner.url }, retry: { first: '50ms', max: '300ms' } }]))
  const relay = await new Relay(t, { workers: 1, destinations }).start()
  return { ...partners, relay }
}

const file = (relay, name = 'state.db') => join(relay.dir, 'spool', name)

function removeState(relay) {
  for (const suffix of ['', '-wal', '-shm']) rmSync(file(relay, `state.db${suffix}`), { force: true })
}

async function allHaveOutcomes(relay, { well, later }, ids) {
  await haveOutcome(relay, ids, () => new Set(well.messageIds()), { destination: 'well' })
  await haveOutcome(relay, ids, () => new Set(), { destination: 'never' })
  later.answer = { status: 200 }
  later.requests.length = 0
  await relay.command('resume', 'later')
  await haveOutcome(relay, ids, () => new Set(later.messageIds()), { destination: 'later' })
}

// Somebody's transaction holds the file for longer than the relay waits. Events go on; rows are written after it.
test('another process locks it', async (t) => {
  const set = await three(t)
  const { relay } = set
  const shell = spawn('sqlite3', [file(relay)], { stdio: ['pipe', 'pipe', 'inherit'] })
  t.after(() => shell.kill('SIGKILL'))
  shell.stdin.write('.timeout 20000\nBEGIN IMMEDIATE;\nSELECT \'locked\';\n') // the relay may be writing itself
  await new Promise((done) => { shell.stdout.once('data', done) })
  const ids = await accepted(relay, [track('A'), track('B'), track('C')])
  await haveOutcome(relay, ids, () => new Set(set.well.messageIds()), { destination: 'well' })
  await until('the log says what it waits for', () => /state cannot be written.*another process holds it/.test(relay.log), { seconds: 30 })
  shell.stdin.end('ROLLBACK;\n')
  ids.push(...await accepted(relay, [track('D')]))
  await allHaveOutcomes(relay, set, ids)
})

// Not a database any more: the start says which file, and keeps it. Without it a new one is made, and the log's events
// are all there.
test('it is damaged at the start', async (t) => {
  const set = await three(t)
  const { relay } = set
  set.well.answer = { status: 500 }
  await relay.command('pause', 'well')
  const ids = await accepted(relay, [track('A'), track('B')])
  await relay.stop()
  rmSync(file(relay, 'state.db-wal'), { force: true })
  const fd = openSync(file(relay), 'r+')
  writeSync(fd, Buffer.alloc(4096, 'damage'), 0, 4096, 0)
  closeSync(fd)
  relay.launch()
  assert.deepEqual(await relay.ended, { code: 1, signal: null })
  assert.match(relay.log.slice(relay.runFrom), /state\.db/)
  assert.ok(statSync(file(relay)).size > 0, 'nothing is deleted by itself')
  removeState(relay)
  set.well.answer = { status: 200 }
  await relay.start()
  ids.push(...await accepted(relay, [track('C')]))
  await haveOutcome(relay, ids, () => new Set(set.well.messageIds()), { destination: 'well' })
})

// Removed beneath a running relay: no row is written into a file that is gone with the process. What fails stays in the
// log, and the next start makes a new file.
test('it is removed while the relay runs', async (t) => {
  const set = await three(t)
  const { relay } = set
  const ids = await accepted(relay, [track('A')])
  await haveOutcome(relay, ids, () => new Set(set.well.messageIds()), { destination: 'well' })
  removeState(relay)
  const more = await accepted(relay, [track('B'), track('C')])
  await haveOutcome(relay, more, () => new Set(set.well.messageIds()), { destination: 'well' })
  await until('the log says it', () => /state\.db: removed or replaced while in use: restart the relay/.test(relay.log), { seconds: 30 })
  await relay.restart()
  assert.ok(existsSync(file(relay)))
  const last = await accepted(relay, [track('D')])
  await allHaveOutcomes(relay, set, [...more, ...last])
})
