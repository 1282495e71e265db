// What an event must pass before a destination sees it: consent, the destination's filter, the integrations object.

import assert from 'node:assert/strict'
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import test from 'node:test'

import { lua } from './lib/lua.mjs'
import { Partner } from './lib/partner.mjs'
import { folder, Relay } from './lib/relay.mjs'
import { accepted, track } from './lib/sender.mjs'
import { until } from './lib/wait.mjs'

async function world(t, more, top = {}, env = {}) {
  const partner = await Partner.start(t)
  const destinations = {}
  for (const [name, options] of Object.entries(more)) {
    destinations[name] = { script: 'webhook', settings: { url: `${partner.url}/${name}` }, ...options }
  }
  const relay = await new Relay(t, { destinations, ...top }, { env }).start()
  const at = (name) => partner.requests.filter((r) => r.path === `/${name}`).map((r) => JSON.parse(r.body))
  const skipped = (destination, reason) => relay.metric('tidegate_events_skipped_total', { destination, reason })
  return { partner, relay, at, skipped }
}

// Consent counts where the event says something of it, for destinations that name categories.
test('consent decides per destination', async (t) => {
  const { partner, relay, at } = await world(t, { ads: { consent: ['ads', 'stats'] }, all: {} })
  const prefer = (categoryPreferences) => ({ context: { consent: { categoryPreferences } } })
  await accepted(relay, [
    track('silent'), track('empty object', { context: { consent: {} } }), track('both', prefer({ ads: true, stats: true })),
    track('one', prefer({ ads: true })), track('none', prefer({})), track('refused', prefer({ ads: true, stats: false })),
  ])
  await partner.arrived(6 + 3)
  await relay.through('ads') // what it skips may come behind the last that it sends
  assert.deepEqual(at('ads').map((e) => e.event).sort(), ['both', 'empty object', 'silent'])
  assert.equal(at('all').length, 6)
  assert.match((await relay.admin('/metrics')).text, /reason="no_consent"[^\n]*\} 3\n/)
})

// An event must pass both, consent and the integrations object: a missing name there is no obstacle, an explicit one is.
// One name is meant for all destinations of that script.
test('consent and the integrations object', async (t) => {
  const settings = { apiKey: 'k', eventMapping: { Order: '7' } }
  const partner = await Partner.start(t)
  const everflow = { script: 'everflow', settings: { ...settings, postbackUrl: `${partner.url}/?nid=1` } }
  const relay = await new Relay(t, { destinations: { first: { ...everflow, consent: ['ads'] }, second: everflow } }).start()
  const order = (ads, integrations) => track('Order', {
    context: { referrer: { type: 'everflow', id: 'tx' }, consent: { categoryPreferences: { ads } } }, ...(integrations && { integrations }),
  })
  await accepted(relay, [
    order(true), order(false), order(true, { Everflow: false }), order(true, { everflow: false }), order(true, { All: false }),
    order(false, { All: false, Everflow: true }), order(true, { All: false, Everflow: { mode: 'x' } }), order(true, { All: true, Everflow: null }),
    order(true, { All: false, 'Segment.io': true }),
  ])
  const skipped = (destination, reason) => relay.metric('tidegate_events_skipped_total', { destination, reason })
  await until('all are decided', async () => await skipped('first', 'no_consent') === 2 && await skipped('first', 'integration_off') === 3
    && await skipped('second', 'no_consent') === 0 && await skipped('second', 'integration_off') === 3)
  await partner.arrived(4 + 6)
})

// A table removes members, keeps only some, chooses by name and by share; each outcome is counted.
test('a filter table', async (t) => {
  const { partner, relay, at, skipped } = await world(t, {
    drop: { filter: { drop: ['properties.email', 'context.ip', 'traits.a.b'] } },
    allow: { filter: { allow: ['properties.total'] } },
    named: { filter: { events: ['Wanted'] } },
    half: { filter: { sample: 0.5 } },
    none: { filter: { sample: 0 } },
  })
  const event = track('Wanted', {
    properties: { email: 'a@example.com', total: 1.50 }, context: { ip: '203.0.113.7', locale: 'en' }, traits: { a: { b: 1, c: 2 } },
  })
  const other = Array.from({ length: 40 }, (_, i) => track('Other', { messageId: `sampled-${i}` }))
  await accepted(relay, [event, ...other])
  await partner.arrived(41, { filter: (r) => r.path === '/drop' })
  await partner.arrived(41, { filter: (r) => r.path === '/allow' })
  await until('all is decided', async () => await skipped('none', 'sampled') === 41 && await skipped('named', 'filtered') === 40
    && await skipped('half', 'sampled') + at('half').length === 41 && at('named').length === 1)
  assert.equal(await skipped('drop', 'filtered') + await skipped('allow', 'filtered'), 0)
  const [dropped] = at('drop').filter((e) => e.event === 'Wanted')
  assert.deepEqual([dropped.properties, dropped.context, dropped.traits], [{ total: 1.5 }, { locale: 'en' }, { a: { c: 2 } }])
  const [allowed] = at('allow').filter((e) => e.event === 'Wanted')
  assert.deepEqual([allowed.properties, allowed.context, allowed.traits],
    [{ total: 1.5 }, { ip: '203.0.113.7', locale: 'en' }, {}])
  assert.deepEqual(at('named').map((e) => e.event), ['Wanted'])
  assert.ok(at('half').length > 8 && at('half').length < 33, `${at('half').length} of 41`)
  assert.equal(at('none').length, 0)
})

// A function of the event gives true, false or such a table; it sees what env gave when the configuration was read.
test('a filter function', async (t) => {
  const { partner, relay, at } = await world(t, {
    fn: {
      filter: lua`(function() local country = env("COUNTRY") return function(event)
        if event.event == "pruned" then return { drop = { "properties.secret" } } end
        if event.event == "late" then error("no such thing") end
        if event.event == "odd" then return 7 end
        return event.properties.country == country or event.type == "page"
      end end)()`,
    },
  }, {}, { COUNTRY: 'at' })
  await accepted(relay, [
    track('yes', { properties: { country: 'at' } }), track('no', { properties: { country: 'de' } }), track('nothing'),
    track('pruned', { properties: { secret: 1, open: 2 } }), track('late'), track('odd'),
  ])
  await partner.arrived(2)
  const dead = await until('two dead letters', async () => {
    const found = await relay.dead()
    return found.length >= 2 && found
  })
  assert.deepEqual(at('fn').map((e) => e.event).sort(), ['pruned', 'yes'])
  assert.deepEqual(at('fn').find((e) => e.event === 'pruned').properties, { open: 2 })
  assert.deepEqual(dead.map((d) => d.event.event).sort(), ['late', 'odd'])
  assert.match(dead.find((d) => d.event.event === 'late').reason, /filter_error.*no such thing/s)
  await until('what was filtered is counted', async () =>
    /reason="filtered"[^\n]*\} 2\n/.test((await relay.admin('/metrics')).text))
})

// A function that never ends is stopped, and the others go on.
test('a filter function without end', async (t) => {
  const { partner, relay, at } = await world(t, {
    loop: { filter: lua`function(event) while event.event == "loop" do end return true end` },
    fine: {},
  }, { script: { soft_limit: '50ms', hard_limit: '60s' } }) // so that the soft one is met first, however busy the machine is
  await accepted(relay, [track('loop'), track('good')])
  await partner.arrived(3)
  const [dead] = await until('a dead letter', async () => {
    const found = await relay.dead()
    return found.length && found
  })
  assert.match(dead.reason, /script_timeout/)
  assert.deepEqual(at('loop').map((e) => e.event), ['good'])
})

// What was kept since, as a dead letter or for a retry, is asked for the gates as they are now; a trial says so before.
test('gates before a replay and a retry', async (t) => {
  const partner = await Partner.start(t, { answer: (r) => ({ status: r.path === '/dead' ? 400 : 503 }) })
  const at = (name) => ({ script: 'webhook', settings: { url: `${partner.url}/${name}` }, retry: { first: '300ms', max: '500ms' } })
  const relay = await new Relay(t, { destinations: { dead: at('dead'), retry: at('retry') } }).start()
  const prefer = (ads) => ({ context: { consent: { categoryPreferences: { ads } } } })
  await accepted(relay, [
    track('Asked', { messageId: 'no', ...prefer(false) }), track('Asked', { messageId: 'yes', ...prefer(true) }),
    track('Secret', { messageId: 'secret' }), track('Asked', { messageId: 'pruned', properties: { email: 'a@example.test', total: 1 } }),
  ])
  await until('all are dead or wait', async () => (await relay.dead()).length === 4 && (await relay.destination('retry')).retries === 4)
  // What has passed the old gates would be sent behind the reload, and be taken.
  assert.equal((await relay.command('pause', 'retry')).code, 0)
  await relay.onDisk()
  await until('nothing is under way', async () => (await relay.freshStatus()).destinations.retry.in_flight === 0)
  const rules = { consent: ['ads'], filter: lua`function(event) return event.event ~= "Secret" and { drop = { "properties.email" } } end` }
  for (const name of ['dead', 'retry']) Object.assign(relay.config.destinations[name], rules)
  relay.pinPorts()
  relay.write()
  const dry = await relay.command('dead', 'replay', '--all', '--dry-run', '--json')
  assert.equal(dry.code, 0, dry.stderr)
  const shown = Object.fromEntries(dry.stdout.trim().split('\n').map((line) => JSON.parse(line)).map((l) => [l.messageId, l]))
  const outcome = (id) => [shown[id].outcome, shown[id].reason, shown[id].requests.length]
  assert.deepEqual([outcome('no'), outcome('secret'), outcome('yes')],
    [['skip', 'no_consent', 0], ['skip', 'filtered', 0], ['deliver', null, 1]])
  assert.deepEqual(JSON.parse(shown.pruned.requests[0].body).properties, { total: 1 })
  const page = await relay.command('dead', 'replay', '--message-id', 'no', '--dry-run')
  assert.match(page.stdout, /^dead letter \d+: dead, no, was http_400, now skip: no_consent: the event's consent does not allow/m)
  const { code, stderr } = await relay.command('reload')
  assert.equal(code, 0, stderr)
  const before = partner.requests.length
  partner.answer = { status: 200 }
  assert.equal((await relay.command('resume', 'retry')).code, 0)
  assert.equal((await relay.command('dead', 'replay', '--all')).code, 0)
  for (const name of ['dead', 'retry']) {
    const arrived = () => partner.requests.slice(before).filter((r) => r.path === `/${name}`).map((r) => JSON.parse(r.body))
    await until(`all of ${name} are decided`, async () => (await relay.destination(name)).retries === 0
      && await relay.metric('tidegate_events_skipped_total', { destination: name, reason: 'no_consent' }) === 1
      && await relay.metric('tidegate_events_skipped_total', { destination: name, reason: 'filtered' }) === 1
      && arrived().some((e) => e.messageId === 'yes') && arrived().some((e) => e.messageId === 'pruned' && !e.properties.email))
  }
  assert.deepEqual(await relay.dead(), [])
})

// A share of events is chosen by their messageId: a retry, also one after a restart, and a replay decide as the first try
// did, and so does a function that gives the same share.
test('a sampled event is the same one at each try', async (t) => {
  const seen = { table: new Map(), fn: new Map() }
  let refuse = 400
  const partner = await Partner.start(t, {
    answer: (r) => {
      const tries = seen[r.path.slice(1)], id = JSON.parse(r.body).messageId
      tries.set(id, (tries.get(id) ?? 0) + 1)
      if (tries.get(id) === 1) return { status: 503 }
      return { status: tries.get(id) === 2 && refuse ? refuse : 200 }
    },
  })
  const at = (name) => ({ script: 'webhook', settings: { url: `${partner.url}/${name}` }, retry: { first: '200ms', max: '500ms' } })
  const relay = await new Relay(t, {
    destinations: { table: { ...at('table'), filter: { sample: 0.5 } }, fn: { ...at('fn'), filter: lua`function(event) return { sample = 0.5 } end` } },
  }).start()
  const ids = await accepted(relay, Array.from({ length: 20 }, (_, i) => track('Shared', { messageId: `shared-${i}` })))
  await until('each was tried or left out', async () => {
    for (const name of ['table', 'fn']) {
      const sampled = await relay.metric('tidegate_events_skipped_total', { destination: name, reason: 'sampled' })
      if (sampled + seen[name].size !== ids.length) throw new Error(`${name}: ${sampled} + ${seen[name].size}`)
    }
    return true
  })
  const chosen = [...seen.table.keys()].sort()
  assert.ok(chosen.length > 3 && chosen.length < 17, `${chosen.length} of ${ids.length}`)
  assert.deepEqual([...seen.fn.keys()].sort(), chosen)
  await relay.restart()
  const dead = await until('each of the chosen is refused at its second try', async () => {
    const found = await relay.dead('--reason', 'http_400')
    return found.length === 2 * chosen.length && found
  })
  assert.deepEqual(dead.filter((d) => d.destination === 'table').map((d) => d.messageId).sort(), chosen)
  refuse = 0
  const { code, stderr } = await relay.command('dead', 'replay', '--reason', 'http_400')
  assert.equal(code, 0, stderr)
  await until('all of them arrive', () => ['table', 'fn'].every((name) => [...seen[name].values()].every((tries) => tries === 3)))
  assert.equal(seen.table.size, chosen.length)
  assert.equal((await relay.dead()).length, 0)
})

// A script that uses up the memory costs the Lua state; the filter functions are there again in the next one.
test('filters survive a rebuilt Lua state', async (t) => {
  const scripts = folder(t)
  mkdirSync(join(scripts, 'greedy'))
  writeFileSync(join(scripts, 'greedy', 'init.lua'), `
local tidegate = require "tidegate"
return {
  name = "Greedy",
  settings = { url = { type = "url", required = true } },
  on = {
    track = function(event, settings)
      local kept = {}
      while event.event == "Balloon" do kept[#kept + 1] = ("x"):rep(100000) .. #kept end
      tidegate.deliver { method = "POST", url = settings.url, json = { event = event.event, messageId = event.messageId } }
    end,
  },
}
`)
  const { partner, relay, at, skipped } = await world(t, {
    greedy: { script: 'greedy', filter: lua`function(event) return event.event ~= "Small" end` },
    picky: { filter: lua`function(event) return event.event == "Wanted" end` },
    table: { filter: { events: ['Wanted'] } },
  }, { workers: 1, scripts: [scripts], script: { memory: '16MiB', soft_limit: '5s', hard_limit: '30s' } })
  for (const round of [1, 2]) {
    await accepted(relay, [track('Wanted'), track('Small')])
    await accepted(relay, [track('Balloon')])
    await until('the greedy event is a dead letter', async () => (await relay.dead('--reason', 'script_memory')).length === round)
    await accepted(relay, [track('Wanted'), track('Small')])
    await until('all are decided', async () => await skipped('picky', 'filtered') === 3 * round && await skipped('greedy', 'filtered') === 2 * round)
    await partner.arrived(6 * round)
    for (const name of ['greedy', 'picky', 'table']) {
      assert.deepEqual(at(name).map((e) => e.event), Array.from({ length: 2 * round }, () => 'Wanted'), name)
    }
  }
  assert.deepEqual((await relay.dead()).map((d) => d.destination), ['greedy', 'greedy'])
})

// What is wrong with a filter is found by check, with its path.
test('a wrong filter is refused', async (t) => {
  const cases = [[{ smaple: 1 }, /destinations\.hook\.filter.*smaple/], [{ drop: ['email'] }, /begin with properties/],
    ['yes', /destinations\.hook\.filter.*function/], [{ sample: 3 }, /sample.*0 to 1/]]
  for (const [filter, message] of cases) {
    const relay = new Relay(t, { destinations: { hook: { script: 'webhook', settings: { url: 'http://127.0.0.1:9/' }, filter } } })
    relay.write()
    const { code, stderr, stdout } = await relay.command('check')
    assert.equal(code, 1, stderr)
    assert.match(stderr + stdout, message)
  }
})
