// A full disk: nothing more is acknowledged, senders are told to come again, what is there goes out, and then events are
// taken again. The spool stands on a small tmpfs, which only root may mount.

import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { mkdtempSync, rmdirSync, rmSync, statfsSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test from 'node:test'

import { Partner } from '../e2e/lib/partner.mjs'
import { Relay } from '../e2e/lib/relay.mjs'
import { send, track } from '../e2e/lib/sender.mjs'
import { until } from '../e2e/lib/wait.mjs'

const MIB = 1024 * 1024

// A folder on a file system of its own; null, and the test is skipped, where that is not allowed. The relay is made with
// it, because what is registered first is cleaned up first.
async function smallDisk(t, mebibytes) {
  const disk = { path: mkdtempSync(join(tmpdir(), 'tidegate-disk-')), mounted: false }
  disk.remove = async () => {
    // A process that was killed may take a moment to let go of its files.
    if (disk.mounted) await until('it is unmounted', () => { execFileSync('umount', [disk.path], { stdio: 'pipe' }); return true })
    rmdirSync(disk.path)
  }
  try {
    execFileSync('mount', ['-t', 'tmpfs', '-o', `size=${mebibytes}m`, 'tidegate-e2e', disk.path], { stdio: 'pipe' })
    disk.mounted = true
    return disk
  } catch (error) {
    t.skip(`no small disk: ${String(error.stderr ?? error.message).trim()}`)
    await disk.remove()
    return null
  }
}

function batch(prefix, number) {
  return Array.from({ length: 20 }, (_, i) => track('Fill', { messageId: `${prefix}-${number}-${i}`, properties: { pad: 'x'.repeat(4000) } }))
}

// Posts until the relay refuses even the smallest event; returns what it acknowledged and the last refusal.
async function fill(relay, prefix, most = 6000) {
  const acknowledged = []
  for (let n = 0, small = false; n < most; n++) {
    const events = small ? [track('Small', { messageId: `${prefix}-${n}` })] : batch(prefix, n)
    const answer = await send(relay, '/v1/batch', { body: { batch: events } })
    if (answer.status === 200) acknowledged.push(...events.map((e) => e.messageId))
    else if (small) return { acknowledged, refusal: answer }
    else small = true
  }
  throw new Error('it takes everything')
}

function checkRefusal(refusal) {
  assert.equal(refusal.status, 503, refusal.body)
  assert.equal(JSON.parse(refusal.body).code, 'disk_full')
  assert.match(refusal.headers['retry-after'], /^[1-9]\d*$/)
}

function allCame(partner, ids) {
  return until('every acknowledged event is delivered', () => {
    const got = new Set(partner.messageIds())
    const missing = ids.filter((id) => !got.has(id))
    if (missing.length === 0) return true
    throw new Error(`${missing.length} of ${ids.length} missing, such as ${missing[0]}`)
  }, { seconds: 90 })
}

const destination = (partner) => ({
  hook: {
    script: 'webhook', settings: { url: partner.url, batchSize: 50, batchWaitMs: 20 },
    retry: { first: '20ms', max: '200ms' }, backlog: { max_bytes: '100%' },
  },
})

async function fillAndDrain(partner, relay) {
  await partner.stop()
  const first = await fill(relay, 'first')
  checkRefusal(first.refusal)
  assert.ok(first.acknowledged.length > 0)
  const ready = await until('it is not ready', async () => {
    const answer = await relay.admin('/readyz')
    return answer.status === 503 && answer
  })
  assert.match(ready.text, /not ready: /)
  assert.equal((await send(relay, '/health', { method: 'GET', key: null })).status, 503)
  await partner.start()
  await allCame(partner, first.acknowledged)
  const again = await until('it takes events again', async () => {
    const events = batch('again', partner.requests.length)
    const answer = await send(relay, '/v1/batch', { body: { batch: events } })
    return answer.status === 200 && events.map((e) => e.messageId)
  })
  await allCame(partner, again)
  assert.equal((await until('it is ready', async () => {
    const answer = await relay.admin('/readyz')
    return answer.status === 200 && answer
  })).text, 'ready\n')
  assert.deepEqual(await relay.dead(), [])
}

// The spool's own limit, with the partner away: it drains when the partner is back.
test('spool.max_bytes is reached', async (t) => {
  const partner = await Partner.start(t)
  const relay = await new Relay(t, { workers: 1, spool: { path: './spool', max_bytes: '16MiB' }, destinations: destination(partner) }).start()
  await fillAndDrain(partner, relay)
})

// The disk itself is full before the limit is reached; delivery goes on there and makes room.
test('the disk is full', async (t) => {
  const disk = await smallDisk(t, 40)
  if (!disk) return
  const partner = await Partner.start(t)
  const spool = { path: join(disk.path, 'spool'), max_bytes: '64MiB' }
  const relay = await new Relay(t, { workers: 1, spool, destinations: destination(partner) }).start()
  t.after(disk.remove)
  await fillAndDrain(partner, relay)
})

// Somebody else fills the disk: retries and dead letters are still written, from the reserve; a restart on the full disk
// works, and nothing that was acknowledged is lost.
test('somebody else fills the disk', async (t) => {
  const disk = await smallDisk(t, 80)
  if (!disk) return
  const partner = await Partner.start(t, { answer: { status: 500 } })
  const spool = { path: join(disk.path, 'spool'), max_bytes: '32MiB' }
  const relay = await new Relay(t, { workers: 1, spool, destinations: destination(partner) }).start()
  t.after(disk.remove)
  const events = batch('before', 0)
  assert.equal((await send(relay, '/v1/batch', { body: { batch: events } })).status, 200)
  await partner.arrived(1)
  const { bsize, bavail } = statfsSync(disk.path)
  const ballast = join(disk.path, 'ballast')
  for (let room = bsize * bavail, part = 0; room > 0 && part < 100; part++) {
    const size = Math.min(room, MIB)
    try {
      writeFileSync(`${ballast}-${part}`, Buffer.alloc(size, 1))
    } catch (error) {
      if (error.code !== 'ENOSPC') throw error
      break
    }
    room -= size
  }
  const { acknowledged, refusal } = await fill(relay, 'full')
  checkRefusal(refusal)
  await relay.killAll()
  partner.answer = { status: 200 }
  await relay.start()
  await allCame(partner, [...events.map((e) => e.messageId), ...acknowledged])
  for (let part = 0; part < 100; part++) rmSync(`${ballast}-${part}`, { force: true })
  await until('it takes events again', async () => (await send(relay, '/v1/track', { body: track('E') })).status === 200)
})
