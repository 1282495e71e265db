// The file system of the spool becomes read-only under load, as ext4 does after an error of its own: files that are open
// for writing fail from one moment to the next, which an ordinary remount would be refused for. Only root may mount.

import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { existsSync, mkdirSync, mkdtempSync, rmSync, truncateSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { basename, join } from 'node:path'
import test from 'node:test'

import { Partner } from '../e2e/lib/partner.mjs'
import { Relay } from '../e2e/lib/relay.mjs'
import { accepted, send, track } from '../e2e/lib/sender.mjs'
import { until } from '../e2e/lib/wait.mjs'
import { haveOutcome, Load, memoryIsBounded, randoms } from './lib/load.mjs'

const SEED = Number(process.env.SEED ?? Date.now() % 1e6)
const MIB = 1024 * 1024

function run(program, ...args) {
  return execFileSync(program, args, { stdio: 'pipe', encoding: 'utf8' }).trim()
}

// An ext4 in a file, mounted at `path`, that can be made to fail.
class Disk {
  constructor() {
    this.dir = mkdtempSync(join(tmpdir(), 'tidegate-disk-'))
    this.image = join(this.dir, 'disk.img')
    this.path = join(this.dir, 'disk')
    this.mounted = false
  }

  make() {
    writeFileSync(this.image, '')
    truncateSync(this.image, 96 * MIB)
    mkdirSync(this.path)
    run('mkfs.ext4', '-q', '-F', this.image)
    this.mount()
    this.trigger = `/sys/fs/ext4/${basename(run('findmnt', '-no', 'SOURCE', this.path))}/trigger_fs_error`
    if (!existsSync(this.trigger)) throw new Error(`no ${this.trigger}`)
  }

  mount() {
    run('mount', '-o', 'loop,errors=remount-ro', this.image, this.path)
    this.mounted = true
  }

  becomeReadOnly() {
    writeFileSync(this.trigger, 'a test')
  }

  // A process that was killed may take a moment to let go of its files.
  async unmount() {
    if (!this.mounted) return
    await until('it is unmounted', () => { run('umount', this.path); return true })
    this.mounted = false
  }

  async remove() {
    await this.unmount()
    rmSync(this.dir, { recursive: true })
  }

  async repair() {
    await this.unmount()
    try {
      run('e2fsck', '-fy', this.image)
    } catch (error) {
      if (error.status > 1) throw error // 1: repaired
    }
    this.mount()
  }
}

// null, and the test is skipped, where mounting is not allowed. The relay is made with it, because what is registered
// first is cleaned up first.
async function ext4(t) {
  const disk = new Disk()
  try {
    disk.make()
    return disk
  } catch (error) {
    t.skip(`no file system of its own: ${String(error.stderr ?? error.message).trim()}`)
    await disk.remove()
    return null
  }
}

test(`the file system becomes read-only under load (SEED=${SEED})`, async (t) => {
  const disk = await ext4(t)
  if (!disk) return
  const random = randoms(SEED)
  const well = await Partner.start(t)
  const flaky = await Partner.start(t, { answer: () => ({ status: random(4) ? 200 : 500 }) })
  const retry = { first: '20ms', max: '200ms' }
  const relay = new Relay(t, {
    spool: { path: join(disk.path, 'spool'), max_bytes: '32MiB' },
    destinations: {
      well: { script: 'webhook', settings: { url: well.url }, retry },
      flaky: { script: 'webhook', settings: { url: flaky.url }, retry },
    },
  })
  t.after(() => disk.remove())
  await relay.start()
  relay.open = true
  const load = new Load(relay, random)
  await load.more(40)
  disk.becomeReadOnly()
  relay.open = false // who is refused waits
  const refused = await until('events are refused', async () => {
    const answer = await send(relay, '/v1/track', { body: track('E') })
    return answer.status !== 200 && answer
  })
  await load.stop()
  assert.equal(refused.status, 503)
  assert.match(refused.headers['retry-after'], /^[1-9]\d*$/)
  await until('the log says why', () =>
    relay.lines('spool: nothing is accepted until the disk takes it again').some((l) => /Read-only file system/.test(l.error)))
  const unsaved = 'cursors could not be saved: events may be delivered twice after a restart'
  await until('and what it means', () => relay.lines(unsaved).some((l) => /Read-only file system/.test(l.error)))
  await until('it is not ready', async () => (await relay.admin('/readyz')).status === 503)
  assert.equal((await relay.admin('/healthz')).status, 200)
  const ids = [...load.acknowledged.keys()]
  await haveOutcome(relay, ids, () => new Set(well.messageIds()), { destination: 'well' })
  await memoryIsBounded(relay)
  const { signal } = await relay.stop()
  assert.equal(signal, null, 'it ends by itself')
  await disk.repair()
  await relay.start()
  ids.push(...await accepted(relay, [track('After')]))
  for (const [destination, partner] of Object.entries({ well, flaky })) {
    await haveOutcome(relay, ids, () => new Set(partner.messageIds()), { destination })
  }
  assert.equal((await relay.command('spool', 'verify')).code, 0)
})
