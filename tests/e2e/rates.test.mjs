// Rates are the partner's, who counts accounts: not workers, not destinations, not runs of the relay.

import assert from 'node:assert/strict'
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import test from 'node:test'

import { Partner } from './lib/partner.mjs'
import { Relay } from './lib/relay.mjs'
import { accepted, track } from './lib/sender.mjs'
import { until } from './lib/wait.mjs'

const BURST = 8
const PER_SECOND = 2

const SCRIPT = `
local tidegate = require "tidegate"
return {
  name = "Counted",
  settings = {
    url = { type = "url", required = true },
    account = { type = "string", required = true },
  },
  rates = { calls = { per_minute = ${60 * PER_SECOND}, burst = ${BURST}, account = { "account" } } },
  on = {
    track = function(event, settings)
      tidegate.deliver { url = settings.url .. "/" .. settings.account, json = { id = event.messageId }, rate = "calls" }
    end,
  },
}`

// Two destinations of one account and one of another, all busy with more than they may send.
async function counted(t) {
  const partner = await Partner.start(t)
  const destination = (account) => ({ script: 'counted', settings: { url: partner.url, account } })
  const relay = new Relay(t, {
    workers: 3, scripts: ['./scripts'], destinations: { one: destination('shared'), two: destination('shared'), three: destination('own') },
  })
  mkdirSync(join(relay.dir, 'scripts/counted'), { recursive: true })
  writeFileSync(join(relay.dir, 'scripts/counted/init.lua'), SCRIPT)
  const began = Date.now()
  await relay.start()
  relay.pinPorts()
  for (let i = 0; i < 12; i++) await accepted(relay, Array.from({ length: 5 }, () => track('E')))
  const calls = (account) => partner.requests.filter((r) => r.path === `/${account}`)
  // A call may come late at the partner but never early, so this holds on the slowest machine.
  const check = () => {
    for (const account of ['shared', 'own']) {
      calls(account).forEach((call, i) => {
        const most = BURST + (call.at - began) / 1000 * PER_SECOND
        assert.ok(i + 1 <= most + 1, `${account}: call ${i + 1} after ${call.at - began} ms`)
      })
    }
  }
  const more = async (n) => {
    const goal = calls('shared').length + n
    await until(`${n} more calls`, () => calls('shared').length >= goal, { seconds: 60 })
    check()
  }
  return { relay, calls, more }
}

// Three workers and two destinations together use no more than the account's allowance; another account has its own.
test('workers and destinations share the allowance of an account', async (t) => {
  const { relay, calls, more } = await counted(t)
  await more(BURST + 3)
  await until('both had some, and the other account has its own', async () => {
    const delivered = (destination) => relay.metric('tidegate_events_delivered_total', { destination })
    const by = [await delivered('one'), await delivered('two'), calls('own').length]
    if (by[0] > 0 && by[1] > 0 && by[2] >= BURST) return true
    throw new Error(`delivered: ${by}`)
  })
  await more(1)
})

// What was used up before a worker, or all of the relay, is killed or stopped, is used up after it.
test('the allowance is not given anew', async (t) => {
  const { relay, more } = await counted(t)
  await more(BURST + 1)
  await relay.killWorker(0)
  await more(2)
  await relay.killAll()
  await relay.start()
  await more(2)
  assert.deepEqual(await relay.stop(), { code: 0, signal: null })
  await relay.start()
  await more(2)
  assert.equal((await relay.command('reload')).code, 0)
  await more(2)
})
