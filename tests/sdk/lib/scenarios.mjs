// The four things that happen to every SDK: an ordinary day, a relay that asks it to slow down, one that is killed and
// started again, and one whose disk is full.
//
// Between SDK and relay lies a tap that knows what was acknowledged; behind the relay stands a partner at whom every
// event must end up.

import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { closeSync, mkdtempSync, openSync, rmdirSync, rmSync, writeSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'

import { HANG, Partner } from '../../e2e/lib/partner.mjs'
import { Relay } from '../../e2e/lib/relay.mjs'
import { send, track } from '../../e2e/lib/sender.mjs'
import { until } from '../../e2e/lib/wait.mjs'
import { labelOf, mix } from './calls.mjs'
import { carriesWhatWasTold, duplicatesByMessageIdOnly, isWhatWasWritten, labels, missing, typeOf } from './check.mjs'
import { Tap } from './tap.mjs'

// With a colon, which Jitsu insists on.
const KEY = 'sdk:write-key'
const FILLER = 'Filler' // events of the tests' own

// A webhook's other end. What it takes while `holding` it does not answer: for the relay that is undelivered.
class Catcher extends Partner {
  holding = false
  taken = []

  constructor() {
    super()
    this.answer = ({ body }) => {
      const event = JSON.parse(body)
      if (this.holding) return HANG
      if (event.event !== FILLER) this.taken.push(event)
      return { status: 200 }
    }
  }

  // Waits until nobody is connected.
  isAlone() {
    return until('the connections are gone', async () => await promisify(this.server.getConnections).call(this.server) === 0)
  }

  // Waits until all the labels are there.
  has(wanted) {
    return until('every event arrives', () => {
      const absent = missing(wanted, this.taken.map(labelOf))
      if (absent.length) throw new Error(`${absent.length} missing: ${absent}`)
      return true
    })
  }
}

async function setUp(t, sdk, { source, config, dir } = {}) {
  const catcher = new Catcher()
  t.after(() => catcher.stop())
  await catcher.start()
  const relay = new Relay(t, {
    sources: [{ name: 'sdk', write_key: KEY, ...source }],
    destinations: { hook: { script: 'webhook', settings: { url: `${catcher.url}/in` } } },
    ...config,
  }, { dir })
  await relay.start()
  relay.pinPorts()
  const tap = await Tap.start(t, relay)
  const client = await sdk.open(t, tap, KEY)
  return { catcher, relay, tap, client }
}

const labelsOf = (calls) => calls.map((c) => c.label)
const writtenLabel = (written) => labelOf({ ...written.event, type: typeOf(written) })
const acknowledged = (tap) => tap.sent(200).map(writtenLabel)

// Waits until the SDK is through with the calls: all are acknowledged, or, when it does not try again, it says so.
async function finished(sdk, tap, calls, verdicts) {
  const wanted = labelsOf(calls)
  if (sdk.keepsTrying) {
    await until('every event is acknowledged', () => {
      const absent = missing(wanted, acknowledged(tap))
      if (absent.length) throw new Error(`${absent.length} are not: ${absent}`)
      return true
    }, { seconds: 60 })
  }
  const told = (await verdicts).map((verdict, i) => verdict && wanted[i]).filter(Boolean)
  assert.deepEqual(missing(told, acknowledged(tap)), [], 'the SDK takes these for delivered')
}

async function says(sdk, { tap, client }, tag) {
  const calls = mix(tag, sdk.types)
  await finished(sdk, tap, calls, client.say(calls))
  return calls
}

// Everything acknowledged is at the partner.
async function nothingLost({ catcher, tap }) {
  await catcher.has(acknowledged(tap))
  duplicatesByMessageIdOnly(catcher.taken)
}

function eachOnce({ catcher }, wanted) {
  assert.deepEqual(labels(catcher.taken), [...wanted].sort())
}

// What the SDK was told, what it wrote and what arrives agree, event by event, and each arrives once.
async function clean(t, sdk) {
  const all = await setUp(t, sdk)
  const calls = await says(sdk, all, 'clean')
  await nothingLost(all)
  eachOnce(all, labelsOf(calls))
  const written = new Map(all.tap.sent().map((w) => [writtenLabel(w), w]))
  const arrived = new Map(all.catcher.taken.map((e) => [labelOf(e), e]))
  for (const call of calls) {
    await t.test(call.label, () => {
      carriesWhatWasTold(arrived.get(call.label), sdk.carries(call))
      isWhatWasWritten(arrived.get(call.label), written.get(call.label))
    })
  }
}

// Between the first refusal and the next try of the same events lies at least the time that the answer names. Later ones
// say less: an SDK may forget it when another of its requests succeeds.
function waitsAsAsked(tap) {
  const idsOf = (post) => tap.eventsOf(post).map(({ event }) => event.messageId)
  const [refused] = tap.posts(429)
  const [id] = idsOf(refused)
  const next = tap.posts().find((post) => post.at > refused.at && idsOf(post).includes(id))
  const waited = next.at - refused.answer.at
  assert.ok(waited >= Number(refused.answer.headers['retry-after']) * 1000 - 5, `the next try came after ${waited} ms`)
}

// The source has used up its rate, and seconds more, when the SDK's first request comes, however long the SDK takes to
// begin; on a machine that stands still for so long meanwhile it is tried again. One worker, because each counts for itself.
async function rateLimited(t, sdk) {
  const rate = 10
  const all = await setUp(t, sdk, { source: { rate }, config: { workers: 1 } })
  const { relay, tap } = all
  const body = () => ({ batch: Array.from({ length: 4 * rate }, () => track(FILLER)) })
  const calls = []
  for (let round = 1; round <= 5 && tap.posts(429).length === 0; round++) {
    let used
    tap.beforeNextPost(async () => { used = await send(relay, '/v1/batch', { key: KEY, body: body() }) })
    calls.push(...await says(sdk, all, `limited-${round}`))
    if (round === 1) assert.equal(used.status, 200)
  }
  const refused = tap.posts(429)
  assert.ok(refused.length > 0, 'it has been refused')
  for (const { answer } of refused) assert.match(answer.headers['retry-after'], /^[1-9]\d*$/)
  if (sdk.readsRetryAfter) waitsAsAsked(tap)
  if (!sdk.keepsTrying) {
    let tries = 0
    await until('the source may send again', async () => {
      await all.client.say(mix(`again-${++tries}`, ['track']))
      return acknowledged(tap).includes(`again-${tries}-track-most`)
    })
  }
  await nothingLost(all)
  eachOnce(all, sdk.keepsTrying ? labelsOf(calls) : acknowledged(tap))
}

// The partner answers nothing until the relay is dead, so that all that was acknowledged has to survive it.
async function killed(t, sdk) {
  const all = await setUp(t, sdk)
  const { catcher, relay, tap, client } = all
  catcher.holding = true
  const told = await says(sdk, all, 'before')

  const later = (tag) => {
    const calls = mix(tag, sdk.types)
    told.push(...calls)
    return { calls, verdicts: client.say(calls) }
  }
  const posts = tap.posts().length
  const during = later('during')
  await until('a request is under way', () => tap.posts().length > posts)
  await relay.killAll()
  const broken = tap.broken
  const down = later('down')
  await (sdk.keepsTrying ? until('the SDK finds no relay', () => tap.broken > broken) : down.verdicts)
  await catcher.isAlone() // or it would take what the dead relay said last
  catcher.holding = false
  await relay.start()
  for (const { calls, verdicts } of [during, down]) await finished(sdk, tap, calls, verdicts)
  told.push(...await says(sdk, all, 'after'))

  await nothingLost(all)
  if (sdk.keepsTrying) assert.deepEqual(missing(labelsOf(told), catcher.taken.map(labelOf)), [])
  const again = catcher.taken.length - new Set(catcher.taken.map((e) => e.messageId)).size
  t.diagnostic(`${catcher.taken.length - again} events, ${again} of them delivered twice`)
}

// A file system of `size` bytes; undefined where the tester may not mount one.
function smallDisk(t, size) {
  const path = mkdtempSync(join(tmpdir(), 'tidegate-sdk-'))
  try {
    execFileSync('mount', ['-t', 'tmpfs', '-o', `size=${size}`, 'tmpfs', path], { stdio: 'pipe' })
    t.after(() => execFileSync('umount', ['-l', path])) // the relay may still hold it
    return path
  } catch {
    return undefined
  } finally {
    t.after(() => rmdirSync(path))
  }
}

function fill(file) {
  const fd = openSync(file, 'w')
  for (let block = Buffer.alloc(1 << 20); block.length >= 4096; block = block.subarray(0, block.length / 2)) {
    try {
      for (;;) writeSync(fd, block)
    } catch (error) {
      if (error.code !== 'ENOSPC') throw error
    }
  }
  closeSync(fd)
}

async function diskFull(t, sdk) {
  const dir = smallDisk(t, '40m')
  if (!dir) {
    t.skip('mounting a small disk needs root')
    return
  }
  const all = await setUp(t, sdk, { dir, config: { workers: 1, spool: { path: './spool', max_bytes: '16MiB' } } })
  const { catcher, relay, tap, client } = all
  catcher.holding = true // so that no room comes back by itself
  const ballast = join(dir, 'ballast')
  fill(ballast)
  const refusal = await until('the relay is out of disk', async () => {
    const answer = await send(relay, '/v1/track', { key: KEY, body: track(FILLER, { properties: { text: 'x'.repeat(400_000) } }) })
    return answer.status !== 200 && answer
  })
  assert.deepEqual([refusal.status, JSON.parse(refusal.body).code], [503, 'disk_full'])
  const ready = async () => (await relay.admin('/readyz')).status === 200
  await until('it says so', async () => !await ready())

  const calls = mix('full', sdk.types)
  const verdicts = client.say(calls)
  await until('the SDK is refused', () => tap.posts(503).length > 0)
  assert.deepEqual(acknowledged(tap), [])
  rmSync(ballast)
  catcher.holding = false
  await finished(sdk, tap, calls, verdicts)
  await until('the relay takes events again', ready)
  const after = await says(sdk, all, 'after')

  await nothingLost(all)
  assert.deepEqual(missing(labelsOf(after), acknowledged(tap)), [])
  eachOnce(all, sdk.keepsTrying ? labelsOf([...calls, ...after]) : acknowledged(tap))
}

export const SCENARIOS = {
  'every event arrives once and whole': clean,
  'answered 429, it tries again and nothing is lost': rateLimited,
  'the relay is killed and started again': killed,
  'the disk is full for a while': diskFull,
}
