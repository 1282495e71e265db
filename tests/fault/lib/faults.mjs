// A relay whose disk and clock do what the test says: the shim beside this file is built once and preloaded into it.
// Offsets are those of `struct page` there.

import { execFileSync } from 'node:child_process'
import { closeSync, mkdtempSync, openSync, readSync, realpathSync, rmSync, writeSync } from 'node:fs'
import { constants, tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

import { folder, Relay } from '../../e2e/lib/relay.mjs'

const SOURCE = join(dirname(fileURLToPath(import.meta.url)), 'shim.c')
const PAGE_BYTES = 96
const FAULTS = { write: 0, sync: 16, change: 32 }
const AT = { syncDelay: 48, syncDelayCount: 52, shorten: 56, clock: 64, quota: 72 }
const { EIO, EROFS } = constants.errno

export const SEGMENTS = 1
export const STATE = 2
export const REST = 4
export const ALL = SEGMENTS | STATE | REST
export const FOR_EVER = -1

let shim
function build() {
  if (shim) return shim
  const dir = mkdtempSync(join(tmpdir(), 'tidegate-shim-'))
  process.on('exit', () => rmSync(dir, { recursive: true, force: true }))
  shim = join(dir, 'shim.so')
  execFileSync('cc', ['-shared', '-fPIC', '-O1', '-std=gnu11', '-Wall', '-Wextra', '-Wno-nonnull-compare', '-o', shim, SOURCE],
    { stdio: 'inherit' })
  return shim
}

export class FaultyRelay extends Relay {
  constructor(t, config = {}, { dir = realpathSync(folder(t)) } = {}) {
    super(t, config, { dir })
    this.control = join(dir, 'faults')
    this.page = openSync(this.control, 'w+')
    writeSync(this.page, Buffer.alloc(PAGE_BYTES))
    t.after(() => closeSync(this.page))
  }

  // Only the daemon has the faults, not the commands beside it.
  launch() {
    const preload = { LD_PRELOAD: build(), FAULT_CONTROL: this.control, FAULT_PATH: join(this.dir, 'spool') }
    if (process.env.TIDEGATE?.includes('asan')) preload.ASAN_OPTIONS = `${process.env.ASAN_OPTIONS ?? ''}:verify_asan_link_order=0`
    const env = this.env
    this.env = { ...env, ...preload }
    super.launch()
    this.env = env
  }

  #put(at, ...numbers) {
    const bytes = Buffer.alloc(4 * numbers.length)
    numbers.forEach((n, i) => bytes.writeInt32LE(n, 4 * i))
    writeSync(this.page, bytes, 0, bytes.length, at)
  }

  #put64(at, number) {
    const bytes = Buffer.alloc(8)
    bytes.writeBigInt64LE(BigInt(number))
    writeSync(this.page, bytes, 0, 8, at)
  }

  // `what`: write, sync or change. The next `count` calls on such files fail.
  fail(what, { error = EIO, count = FOR_EVER, files = ALL } = {}) {
    this.#put(FAULTS[what] + 4, count, files, 0)
    this.#put(FAULTS[what], error) // last: it puts the others in force
  }

  heal(what) {
    this.#put(FAULTS[what], 0)
  }

  // How many calls have been met since `fail`.
  hits(what) {
    const bytes = Buffer.alloc(4)
    readSync(this.page, bytes, 0, 4, FAULTS[what] + 12)
    return bytes.readInt32LE()
  }

  slowSync(ms, count = FOR_EVER) {
    this.#put(AT.syncDelayCount, count)
    this.#put(AT.syncDelay, ms)
  }

  shortenWrites(on) {
    this.#put(AT.shorten, on ? 1 : 0)
  }

  shiftClock(ms) {
    this.#put64(AT.clock, ms)
  }

  // So many bytes fit below the spool; 0: no limit.
  diskOf(bytes) {
    this.#put64(AT.quota, bytes)
  }

  readOnly(on) {
    for (const what of ['write', 'change']) {
      if (on) this.fail(what, { error: EROFS })
      else this.heal(what)
    }
  }
}
