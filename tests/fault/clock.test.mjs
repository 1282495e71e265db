// The wall clock jumps by hours, as after a suspended machine or a wrong time server. Nothing is lost, nothing hangs, and
// what waits for a retry does not wait for hours.

import assert from 'node:assert/strict'
import test from 'node:test'

import { Partner } from '../e2e/lib/partner.mjs'
import { send, track, accepted } from '../e2e/lib/sender.mjs'
import { until } from '../e2e/lib/wait.mjs'
import { FaultyRelay } from './lib/faults.mjs'
import { haveOutcome } from './lib/load.mjs'

const HOURS = 3600 * 1000

for (const hours of [7, -7]) {
  test(`the clock jumps by ${hours} hours`, async (t) => {
    const partner = await Partner.start(t, { answer: { status: 503 } })
    const relay = await new FaultyRelay(t, {
      workers: 2,
      destinations: {
        hook: { script: 'webhook', settings: { url: partner.url }, retry: { first: '2s', max: '2s', deadline: '4h' } },
      },
    }).start()
    const ids = await accepted(relay, [track('Before'), track('Before too')])
    await until('they wait for a retry', async () => {
      const { retries, in_flight: flying } = await relay.destination('hook')
      return retries === 2 && flying === 0
    })
    relay.shiftClock(hours * HOURS)
    ids.push(...await accepted(relay, [track('After')]))
    assert.equal((await send(relay, '/v1/track', { body: track('E', { messageId: ids[0] }) })).status, 200)
    partner.answer = { status: 200 }
    await haveOutcome(relay, ids, () => new Set(partner.messageIds()))
    await until('the log says it', () => relay.lines('the wall clock has jumped').some((l) => Number(l.by_ms) * hours > 0))
    relay.shiftClock(0)
    ids.push(...await accepted(relay, [track('Back')]))
    await haveOutcome(relay, ids, () => new Set(partner.messageIds()))
    assert.deepEqual(await relay.dead(), [], 'a jump is no deadline')
    assert.deepEqual(await relay.stop(), { code: 0, signal: null })
  })

  // The same between two runs.
  test(`the clock is ${hours} hours off after a restart`, async (t) => {
    const partner = await Partner.start(t, { answer: { status: 429, headers: { 'retry-after': '20' } } })
    const relay = await new FaultyRelay(t, {
      workers: 1, destinations: { hook: { script: 'webhook', settings: { url: partner.url }, retry: { first: '50ms', max: '500ms' } } },
    }).start()
    const ids = await accepted(relay, [track('Before')])
    await until('the destination pauses', async () => (await relay.destination('hook')).paused_until)
    await relay.stop()
    relay.shiftClock(hours * HOURS)
    partner.answer = { status: 200 }
    await relay.start()
    ids.push(...await accepted(relay, [track('After')]))
    await haveOutcome(relay, ids, () => new Set(partner.messageIds()), { seconds: 60 })
    assert.deepEqual(await relay.dead(), [])
  })
}
