// The emarsys destination against a stand-in that judges by the reference of the Suite API, and against one of the add-on's
// own endpoint.

import assert from 'node:assert/strict'
import { describe, test } from 'node:test'

import { CUT } from './lib/partner.mjs'
import { Relay, WRITE_KEY } from './lib/relay.mjs'
import { accepted, send, track } from './lib/sender.mjs'
import { EventEndpoint, settled } from './lib/standin.mjs'
import { until } from './lib/wait.mjs'
import { Emarsys, reply, wsseDigest } from './partners/emarsys.mjs'

const AT = '2026-01-02T03:04:05.678Z'
const QUICK = { retry: { first: '50ms', max: '300ms' } }
const ORDER = '101' // the external event of `Order Completed`
const SOURCES = [{ name: 'web', write_key: WRITE_KEY, allow_delete: true }]

function direct(partner) {
  return {
    apiKey: 'add-on-key', mode: 'direct', apiUser: 'customer001', apiSecret: 'customersecret', baseUrl: partner.url,
    eventMapping: { 'Order Completed': ORDER },
  }
}

async function start(t, settings = {}, { workers = 1, setUp = () => {} } = {}) {
  const partner = await Emarsys.start(t)
  partner.connected.add(ORDER)
  setUp(partner)
  const relay = await new Relay(t, {
    workers, sources: SOURCES,
    destinations: {
      emarsys: {
        settings: { ...direct(partner), ...settings },
        ...QUICK,
      },
    },
  }).start()
  return { partner, relay }
}

// An order of a contact; keys that begin with "bad" are refused by the stand-in.
function order(email, messageId, more = {}) {
  const context = { traits: { email } }
  return track('Order Completed', { messageId, timestamp: AT, context, properties: { id: messageId }, ...more })
}

const mail = (i) => `user-${i}@example.test`
const upsertsOf = (partner) => partner.requests.filter((r) => r.method === 'PUT')
const triggersOf = (partner) => partner.requests.filter((r) => r.path.includes('/event/'))
const contactsOf = (partner) => upsertsOf(partner).flatMap((r) => JSON.parse(r.body).contacts)

// Each event on a connection of its own, so that every worker gets some.
function spread(relay, events) {
  return Promise.all(events.map((event) => accepted(relay, [event])))
}

function skips(relay, reason) {
  return relay.metric('tidegate_events_skipped_total', { destination: 'emarsys', reason })
}

// They wait more than they work: a few at a time.
describe('emarsys', { concurrency: 4 }, () => {
  // The stand-in's own arithmetic against the published example.
  test('the check vector', () => {
    assert.equal(wsseDigest('d36e316282959a9ed4c89851497a717f', '2014-03-20T12:51:45Z', 'customersecret'),
      'YWQyNWE5Y2JkOTY2ZTU1ODg2M2QzNzVhNDZlZGQwZjg5YjZlZTk4Yw==')
  })

  // Page, screen, identify and track are treated alike: the contact first, then its event, if the name is mapped.
  test('every type', async (t) => {
    const eventMapping = {
      'Order Completed': ORDER, 'Viewed Pricing Page': '102', 'Viewed Home Screen': '103', 'identify': '104', 'Checkout': '105',
      'page': '106',
    }
    const { partner, relay } = await start(t, { eventMapping }, { workers: 2 })
    partner.connected = new Set(Object.values(eventMapping))
    const context = { traits: { email: mail(1) } }
    await accepted(relay, [
      order(mail(0), 'm-order', { timestamp: '2026-01-02T08:34:05.678+05:30', properties: { total: 76.5, items: [{ sku: 's' }] } }),
      { type: 'page', name: 'Pricing', userId: 'u', messageId: 'm-page', timestamp: AT, properties: { email: mail(1), path: '/p' } },
      { type: 'screen', name: 'Home', userId: 'u', messageId: 'm-screen', timestamp: AT, context },
      { type: 'page', name: 'Checkout', userId: 'u', messageId: 'm-checkout', timestamp: AT, context, properties: { step: 2 } },
      { type: 'page', userId: 'u', messageId: 'm-nameless', timestamp: AT, context },
      { type: 'identify', userId: 'u', messageId: 'm-identify', timestamp: AT, traits: { email: mail(2), firstName: 'Bo', lastName: 'Ek' } },
      track('Not Mapped', { messageId: 'm-other', context: { traits: { email: mail(3), firstName: 'Cy' } } }),
      track('Order Completed', { messageId: 'm-nobody', properties: { total: 1 } }),
      ...['group', 'alias', 'delete'].map((type) => ({ type, userId: 'u', groupId: 'g', previousId: 'p', messageId: type, context })),
    ])
    await settled(relay, 'emarsys', 11)
    assert.deepEqual(partner.refused, [])
    assert.deepEqual(Object.fromEntries(partner.contacts), {
      [`3/${mail(0)}`]: { 3: mail(0) },
      [`3/${mail(1)}`]: { 3: mail(1) },
      [`3/${mail(2)}`]: { 1: 'Bo', 2: 'Ek', 3: mail(2) },
      [`3/${mail(3)}`]: { 1: 'Cy', 3: mail(3) },
    })
    const triggers = Object.fromEntries(partner.triggers.map(({ trigger, ...rest }) => [trigger, rest]))
    for (const { time } of partner.triggers) assert.equal(Date.parse(time), Date.parse(AT) - (time.includes('.') ? 0 : 678))
    const [page, home, checkout, nameless, who, bought] = ['m-page', 'm-screen', 'm-checkout', 'm-nameless', 'm-identify', 'm-order']
      .map((id) => [triggers[id]?.event, triggers[id]?.key, triggers[id]?.data])
    assert.deepEqual(bought, [ORDER, mail(0), { total: 76.5, items: [{ sku: 's' }] }])
    assert.deepEqual(page, ['102', mail(1), { email: mail(1), path: '/p' }])
    assert.deepEqual(home, ['103', mail(1), {}])
    assert.deepEqual(checkout, ['105', mail(1), { step: 2 }])
    assert.deepEqual(nameless, ['106', mail(1), {}])
    assert.deepEqual(who, ['104', mail(2), { email: mail(2), firstName: 'Bo', lastName: 'Ek' }])
    assert.equal(partner.triggers.length, 6)
    assert.deepEqual([await skips(relay, 'no_primary_key'), await skips(relay, 'type_not_accepted')], [1, 3])
    assert.deepEqual(await relay.dead(), [])
  })

  // Fields by their ids: what is not there is left alone, an empty text clears, lists are lists of texts, an opt-in that
  // Emarsys does not know is left out. The ids of the event's user go where the account keeps them.
  test('fields', async (t) => {
    const { partner, relay } = await start(t, {
      keyField: '600', primaryKey: 'userId', userIdField: '600', anonymousIdField: '601', contactListId: '77',
      fieldMapping: {
        1: 'traits.firstName', 3: 'traits.email', 31: 'traits.optin', 500: 'traits.tags', 501: 'traits.vip', 502: 'traits.note',
        503: 'properties.plan',
      },
    }, { setUp: (p) => p.lists.set('77', new Set()) })
    const identify = (userId, traits, more) => ({ type: 'identify', userId, messageId: userId, traits, ...more })
    await accepted(relay, [
      identify('u-1', { firstName: 'Ann', tags: ['a', 'b'], vip: true, note: '', optin: 'yes', email: null }, { anonymousId: 'anon' }),
      identify('u-2', { optin: 1, email: mail(2) }),
      track('E', { userId: 'u-3', messageId: 'm', properties: { plan: 'pro' }, context: { traits: { optin: '2' } } }),
    ])
    await settled(relay, 'emarsys', 3)
    assert.deepEqual(partner.refused, [])
    const text = (fields) => Object.fromEntries(Object.entries(fields).map(([id, v]) => [id, Array.isArray(v) ? v : String(v)]))
    assert.deepEqual([...partner.contacts.values()].map(text).sort((a, b) => (a[600] < b[600] ? -1 : 1)), [
      { 600: 'u-1', 601: 'anon', 1: 'Ann', 500: ['a', 'b'], 501: 'true', 502: '' },
      { 600: 'u-2', 31: '1', 3: mail(2) },
      { 600: 'u-3', 31: '2', 503: 'pro' },
    ])
    assert.deepEqual([...partner.lists.get('77')].sort(), ['u-1', 'u-2', 'u-3'])
    assert.deepEqual(await relay.dead(), [])
  })

  // A file with an event goes beside its data.
  test('an attachment', async (t) => {
    const { partner, relay } = await start(t)
    const attachment = [{ filename: 'a.txt', data: 'aGVsbG8=' }]
    await accepted(relay, [order(mail(1), 'm-1', { properties: { id: 1, attachment } })])
    await settled(relay, 'emarsys', 1)
    assert.deepEqual(partner.refused, [])
    assert.deepEqual(partner.triggers.map((x) => x.attachment), [attachment])
  })

  // Many events make few calls, none with more than 1000 contacts; every contact is there before its event.
  test('batches of up to 1000', async (t) => {
    const { partner, relay } = await start(t, { batchSize: 1000 }, { workers: 2 })
    const events = Array.from({ length: 2400 }, (_, i) => order(mail(i), `m-${i}`))
    for (let i = 0; i < events.length; i += 400) await accepted(relay, events.slice(i, i + 400))
    await settled(relay, 'emarsys', events.length)
    assert.deepEqual(partner.refused, [])
    assert.equal(partner.contacts.size, events.length)
    assert.equal(partner.triggers.length, events.length)
    assert.ok(partner.upserts.length < events.length / 8, `${partner.upserts.length} upserts`) // a slow machine fills them less
    assert.ok(Math.max(...partner.upserts) <= 1000)
  })

  // 8 MB is the most that an upsert may be.
  test('batches of up to 8 MB', async (t) => {
    const { partner, relay } = await start(t, { batchSize: 1000, fieldMapping: { 700: 'properties.bio' }, eventMapping: {} })
    const bio = 'x'.repeat(450_000)
    for (let round = 0; round < 3; round++) {
      await accepted(relay, Array.from({ length: 8 }, (_, i) => order(mail(`${round}-${i}`), `m-${round}-${i}`, { properties: { bio } })))
    }
    await settled(relay, 'emarsys', 24)
    assert.deepEqual(partner.refused.map((r) => r.answer), [])
    assert.equal(partner.contacts.size, 24)
  })

  // A contact that Emarsys refuses within a 200 is a dead letter with its words, and is not sent again; nor are the others,
  // which are done.
  test('one bad contact of a batch', async (t) => {
    const { partner, relay } = await start(t, { batchSize: 10 })
    const events = Array.from({ length: 10 }, (_, i) => order(i === 6 ? 'bad@example.test' : mail(i), `m-${i}`))
    await accepted(relay, events)
    await settled(relay, 'emarsys', 10)
    const dead = await relay.dead('--dest', 'emarsys')
    assert.deepEqual(dead.map((d) => [d.messageId, d.attempts]), [['m-6', 1]])
    assert.match(dead[0].reason, /2005.*Invalid key field value: bad@example.test/)
    const good = events.map((e) => e.messageId).filter((id) => id !== 'm-6')
    assert.deepEqual(partner.triggers.map((x) => x.trigger).sort(), good.sort())
    const sent = contactsOf(partner).map((c) => c[3])
    assert.equal(sent.length, new Set(sent).size, 'no contact is sent twice')
    assert.equal(partner.repeated, 0)
  })

  // An error of nobody that was sent: the call is halved until the one that fails is alone, instead of passing for a success.
  test('one bad contact under another name', async (t) => {
    const { partner, relay } = await start(t, { batchSize: 8 }, { setUp: (p) => Object.assign(p, { nameOf: () => 'contact 17' }) })
    await accepted(relay, Array.from({ length: 8 }, (_, i) => order(i === 5 ? 'bad@example.test' : mail(i), `m-${i}`)))
    await settled(relay, 'emarsys', 8)
    const dead = await relay.dead('--dest', 'emarsys')
    assert.deepEqual(dead.map((d) => d.messageId), ['m-5'])
    assert.match(dead[0].reason, /2005.*Invalid key field value/)
    assert.equal(partner.triggers.length, 7)
  })

  // An event whose contact is not there any more is one dead letter; the others have started their programs once.
  test('one bad trigger of a batch', async (t) => {
    const { partner, relay } = await start(t, { batchSize: 10 }, { setUp: (p) => p.gone.add(mail(3)) })
    await accepted(relay, Array.from({ length: 10 }, (_, i) => order(mail(i), `m-${i}`)))
    await settled(relay, 'emarsys', 10)
    const dead = await relay.dead('--dest', 'emarsys')
    assert.deepEqual(dead.map((d) => [d.messageId, d.attempts]), [['m-3', 1]])
    assert.match(dead[0].reason, /2008.*No contact found/)
    assert.equal(partner.triggers.length, 9)
    assert.equal(partner.repeated, 0)
  })

  // Refusals of one contact alone: in the envelope, in its data, with a status.
  const refusals = {
    'a bad key': [{ email: 'bad@example.test' }, /2005.*Invalid key field value/],
    'a contact that has gone': [{ email: mail(9) }, /2008.*No contact found/],
    'no such list': [{ email: mail(1), more: { contactListId: '5' } }, /2020.*Invalid contact list id/],
    'no such key field': [{ email: mail(1), more: { keyField: '999', fieldMapping: {} } }, /2004.*Invalid key field id/],
    'nothing is connected': [{ email: mail(1), event: '199' }, /No program or campaign is triggered/],
  }
  test('refusals', async (t) => {
    const cases = Object.entries(refusals)
      .flatMap(([what, more]) => [1, 5].map((batchSize) => [`${what}, ${batchSize}`, batchSize, ...more]))
    const partners = await Promise.all(cases.map(() => Emarsys.start(t)))
    const destinations = cases.map(([what, batchSize, settings], i) => {
      Object.assign(partners[i], { connected: new Set([ORDER]), gone: new Set([mail(9)]) })
      const eventMapping = { [what]: settings.event ?? ORDER }
      const all = { ...direct(partners[i]), ...settings.more, batchSize, eventMapping }
      return [`d-${i}`, { script: 'emarsys', filter: { events: [what] }, settings: all, ...QUICK }]
    })
    const relay = await new Relay(t, { workers: 1, destinations: Object.fromEntries(destinations) }).start()
    await accepted(relay, cases.map(([what, , { email }]) => order(email, what, { event: what })))
    for (const [i, [what, , , words]] of cases.entries()) {
      await settled(relay, `d-${i}`, cases.length)
      const dead = await relay.dead('--dest', `d-${i}`)
      assert.deepEqual(dead.map((d) => [d.messageId, d.attempts]), [[what, 1]])
      assert.match(dead[0].reason, words)
      assert.equal(partners[i].refused.length, 1, `${what}: it is not repeated`)
      assert.equal(partners[i].triggers.length, 0)
    }
  })

  // A whole batch that is refused: each of its events is a dead letter, none gets to its trigger.
  test('a whole batch is refused', async (t) => {
    const { partner, relay } = await start(t, { keyField: '999', fieldMapping: {}, batchSize: 4 })
    await accepted(relay, Array.from({ length: 4 }, (_, i) => order(mail(i), `m-${i}`)))
    await settled(relay, 'emarsys', 4)
    const dead = await relay.dead('--dest', 'emarsys')
    assert.deepEqual(dead.map((d) => d.messageId).sort(), ['m-0', 'm-1', 'm-2', 'm-3'])
    for (const { reason } of dead) assert.match(reason, /2004.*Invalid key field id: 999/)
    assert.equal(triggersOf(partner).length, 0)
  })

  // Failures that pass, at either call: each attempt has credentials of its own, the event starts its program once.
  for (const batchSize of [1, 5]) {
    test(`failures that pass, ${batchSize} a batch`, async (t) => {
      const { partner, relay } = await start(t, { batchSize })
      const troubles = { PUT: [{ status: 500 }, CUT], POST: [{ status: 503 }, { status: 502 }] }
      const take = partner.answer
      partner.answer = async (r) => troubles[r.method].shift() ?? take(r)
      await accepted(relay, [order(mail(1), 'm-1')])
      await settled(relay, 'emarsys', 1)
      assert.deepEqual(partner.refused, [])
      assert.deepEqual(partner.triggers.map((x) => x.trigger), ['m-1'])
      const nonces = partner.requests.map((r) => /Nonce="(\w+)"/.exec(r.headers['x-wsse'])[1])
      assert.equal(new Set(nonces).size, partner.requests.length, 'a nonce is used once')
      assert.ok(triggersOf(partner).length === 3 && upsertsOf(partner).length >= 3)
      assert.deepEqual(await relay.dead(), [])
    })
  }

  // The answer to a trigger is lost: it is sent again with the same id, by which Emarsys knows it.
  test('a lost answer', async (t) => {
    const { partner, relay } = await start(t)
    const take = partner.answer
    let lost = false
    partner.answer = async (r) => {
      const answer = await take(r)
      const lose = r.method === 'POST' && !lost
      lost ||= lose
      return lose ? CUT : answer
    }
    await accepted(relay, [order(mail(1), 'm-1')])
    await settled(relay, 'emarsys', 1)
    assert.deepEqual([partner.triggers.length, partner.repeated], [1, 1])
    assert.deepEqual(await relay.dead(), [])
  })

  // Two calls for one new contact at a time would lose it: one worker never makes them.
  for (const batchSize of [1, 3]) {
    test(`one call at a time for a new contact, ${batchSize} a batch`, async (t) => {
      const { partner, relay } = await start(t, { batchSize }, { setUp: (p) => Object.assign(p, { latencyMs: 40 }) })
      await spread(relay, Array.from({ length: 9 }, (_, i) => order(mail(i % 3), `m-${i}`)))
      await settled(relay, 'emarsys', 9)
      assert.deepEqual([partner.races, partner.triggers.length], [0, 9])
      assert.deepEqual(partner.refused, [])
      assert.deepEqual(await relay.dead(), [])
    })
  }

  // Workers may: then the answer says so, and the call is made once more.
  test('a race for a new contact', async (t) => {
    const { partner, relay } = await start(t, {}, { workers: 3, setUp: (p) => Object.assign(p, { latencyMs: 100 }) })
    const lost = { [mail(1)]: { 2009: 'Contact with the external id already exists: 3' } }
    partner.script.push(reply(200, 0, 'OK', { ids: [], errors: lost }))
    await accepted(relay, [order(mail(1), 'm')])
    await settled(relay, 'emarsys', 1)
    assert.equal(upsertsOf(partner).length, 2)
    await spread(relay, Array.from({ length: 12 }, (_, i) => order(mail(2), `m-${i}`)))
    await settled(relay, 'emarsys', 13)
    assert.equal(partner.triggers.length, 13)
    assert.deepEqual(await relay.dead(), [])
  })

  // Credentials that are refused park: nothing is lost, a reload with the right ones delivers.
  test('a wrong secret', async (t) => {
    const { partner, relay } = await start(t, { apiSecret: 'wrong' })
    await accepted(relay, [order(mail(1), 'm-1'), order(mail(2), 'm-2')])
    await until('it is parked', async () => (await relay.destination('emarsys')).state === 'parked')
    assert.deepEqual([partner.contacts.size, partner.noncesRepeated], [0, 0])
    relay.config.destinations.emarsys.settings.apiSecret = 'customersecret'
    relay.write()
    assert.equal((await relay.command('reload')).code, 0)
    await settled(relay, 'emarsys', 2)
    assert.equal(partner.triggers.length, 2)
    assert.deepEqual(await relay.dead(), [])
  })

  async function startV3(t, more) {
    const { partner, relay } = await start(t, {}, more)
    Object.assign(relay.config.destinations.emarsys.settings, {
      apiUser: undefined, apiSecret: undefined, apiVersion: 'v3', tokenUrl: `${partner.url}/oauth/token`, clientId: 'client-1',
      clientSecret: 'client-secret-1',
    })
    await relay.restart()
    return { partner, relay }
  }

  // v3: one token for many calls; a new one before its end, and when it is not good any more.
  test('tokens', async (t) => {
    const { partner, relay } = await startV3(t)
    let sent = 0
    const deliver = async () => {
      await accepted(relay, [order(mail(sent), `m-${sent}`)])
      sent++
      await until('it is there', () => partner.triggers.length === sent)
    }
    for (let i = 0; i < 4; i++) await deliver()
    assert.equal(partner.tokensGiven, 1)
    assert.ok(partner.requests.every((r) => r.path.startsWith('/api/v3/') || r.path === '/oauth/token'))
    assert.deepEqual(partner.refused, [])
    partner.revokeTokens()
    await deliver()
    assert.equal(partner.tokensGiven, 2)
    assert.deepEqual(partner.refused.map((r) => r.answer.status), [401], 'only what was revoked was refused')
    partner.tokenSeconds = 5
    partner.revokeTokens()
    // One that is on its way for more than a second may come too late: then the next one shows it.
    await until('a token is renewed before its end', async () => {
      const [given, refused] = [partner.tokensGiven, partner.refused.length]
      await deliver()
      return partner.tokensGiven > given && partner.refused.length === refused
    }, { seconds: 60 })
    assert.ok(partner.refused.every((r) => r.answer.status === 401))
    assert.deepEqual(await relay.dead(), [])
  })

  // A token that cannot be had, or is not taken: a failure passes, a refusal of the client parks.
  test('no token', async (t) => {
    const { partner, relay } = await startV3(t, { setUp: (p) => p.script.push({ status: 503 }) })
    await accepted(relay, [order(mail(1), 'm-1')])
    await settled(relay, 'emarsys', 1)
    assert.equal(partner.triggers.length, 1)
    partner.takesTokens = false
    await accepted(relay, [order(mail(3), 'm-3')])
    await until('it is parked', async () => (await relay.destination('emarsys')).state === 'parked')
    assert.equal(partner.tokensGiven, 2, 'a new one was refused as well')
    partner.takesTokens = true
    assert.equal((await relay.command('resume', 'emarsys')).code, 0)
    await until('it is delivered', () => partner.triggers.length === 2)
    partner.clients.set('client-1', 'changed')
    partner.revokeTokens()
    await accepted(relay, [order(mail(2), 'm-2')])
    await until('it is parked', async () => (await relay.destination('emarsys')).state === 'parked')
    relay.config.destinations.emarsys.settings.clientSecret = 'changed'
    relay.write()
    assert.equal((await relay.command('reload')).code, 0)
    await until('it is delivered', () => partner.triggers.length === 3)
    assert.deepEqual(await relay.dead(), [])
  })

  // Who has been seen with a key is known by user id and anonymous id afterwards, by the latest one.
  test('the identity cache', async (t) => {
    const { partner, relay } = await start(t, { identityCache: true, eventMapping: { 'Order Completed': ORDER, 'identify': ORDER } })
    let n = 0
    const next = async (event) => {
      const messageId = `m-${n++}`
      await accepted(relay, [{ messageId, timestamp: AT, ...event }])
      return until('it is triggered', () => partner.triggers.find((x) => x.trigger === messageId)?.key)
    }
    const bought = (ids) => ({ type: 'track', event: 'Order Completed', properties: {}, ...ids })
    await next({ type: 'identify', userId: 'u', anonymousId: 'a', traits: { email: mail(1) } })
    assert.equal(await next(bought({ userId: 'u' })), mail(1))
    assert.equal(await next(bought({ anonymousId: 'a' })), mail(1))
    await accepted(relay, [{ ...bought({ userId: 'stranger' }), messageId: 'm-stranger' }])
    await next({ type: 'identify', userId: 'u', traits: { email: mail(2) } })
    assert.equal(await next(bought({ userId: 'u', anonymousId: 'a' })), mail(2))
    assert.equal(await next(bought({ anonymousId: 'a' })), mail(1))
    await settled(relay, 'emarsys', n + 1)
    assert.equal(partner.triggers.length, n)
    assert.equal(await skips(relay, 'no_primary_key'), 1)
  })

  // 1000 requests a minute of one API user, all workers together: the relay keeps to it by itself. After the first 16 each
  // takes its share of a minute of 980.
  test('1000 requests a minute', async (t) => {
    const { partner, relay } = await start(t, { eventMapping: {} }, { workers: 2 })
    const begin = Date.now()
    await spread(relay, Array.from({ length: 80 }, (_, i) => order(mail(i), `m-${i}`)))
    const requests = await partner.arrived(60)
    const ms = requests[59].at - begin
    assert.ok(ms >= Math.floor((60 - 16) * 60_000 / 980), `60 requests within ${ms} ms`)
    assert.deepEqual(partner.refused, [])
  })

  // 429 names the time at which it goes on, in seconds since 1970: nothing is sent before that, by any worker.
  test('429 with a reset time', async (t) => {
    const { partner, relay } = await start(t, {}, { workers: 2 })
    const take = partner.answer
    let reset
    partner.answer = (r) => {
      if (reset) return take(r)
      reset = Math.ceil(Date.now() / 1000) + 8 // the log tells of it if there are 2 left when the relay reads it
      const headers = { 'x-ratelimit-limit': 1000, 'x-ratelimit-remaining': 0, 'x-ratelimit-reset': reset }
      return { ...reply(429, 1, 'Too Many Requests'), headers }
    }
    await accepted(relay, [order(mail(0), 'm-0')])
    await relay.says('destination waits, as the partner asks')
    await spread(relay, Array.from({ length: 10 }, (_, i) => order(mail(i + 1), `m-${i + 1}`)))
    await settled(relay, 'emarsys', 11)
    assert.equal(partner.triggers.length, 11)
    for (const { at } of partner.requests.slice(1)) assert.ok(at >= reset * 1000 - 50, `${reset * 1000 - at} ms too early`)
    assert.deepEqual(await relay.dead(), [])
  })

  // Audience traits of Engage reach fields and events like other traits.
  test('audiences', async (t) => {
    const { partner, relay } = await start(t, {
      fieldMapping: { 900: 'traits.big_spenders', 901: 'traits.order_completed_last_30days' }, eventMapping: { identify: ORDER },
    })
    await accepted(relay, [{
      type: 'identify', userId: 'u', messageId: 'm', timestamp: AT, integrations: { All: false, Emarsys: true },
      traits: { email: mail(1), big_spenders: false, order_completed_last_30days: true },
      context: { personas: { computation_class: 'audience', computation_key: 'big_spenders' } },
    }])
    await settled(relay, 'emarsys', 1)
    assert.deepEqual(partner.refused, [])
    assert.deepEqual([...partner.contacts.values()], [{ 3: mail(1), 900: 'false', 901: 'true' }])
    assert.deepEqual(partner.triggers[0].data, { email: mail(1), big_spenders: false, order_completed_last_30days: true })
  })

  // SIGKILL of everything while batches go out, and while Emarsys is away: each contact and each event is there in the end,
  // and no program has started twice.
  test('kills', async (t) => {
    const { partner, relay } = await start(t, { batchSize: 5 }, { workers: 2, setUp: (p) => Object.assign(p, { latencyMs: 20 }) })
    const events = Array.from({ length: 60 }, (_, i) => order(mail(i), `m-${i}`))
    await spread(relay, events.slice(0, 40))
    await partner.arrived(4)
    await relay.killAll()
    await partner.stop()
    await relay.start()
    await spread(relay, events.slice(40))
    await relay.killAll()
    await partner.start()
    await relay.start()
    await until('all are there', () => partner.triggers.length === events.length, { seconds: 90 })
    await settled(relay, 'emarsys', events.length)
    assert.deepEqual(partner.triggers.map((x) => x.trigger).sort(), events.map((e) => e.messageId).sort())
    assert.equal(partner.contacts.size, events.length)
    assert.equal(partner.noncesRepeated, 0)
    assert.deepEqual(await relay.dead(), [])
  })

  // Without a mode the event goes to the add-on's endpoint, whole, all four types alike; there are no other settings.
  test('forward', async (t) => {
    const endpoint = await EventEndpoint.start(t, { apiKey: 'segment', types: ['identify', 'track', 'page', 'screen'] })
    const relay = await new Relay(t, {
      sources: SOURCES, destinations: { emarsys: { settings: { apiKey: 'segment', endpoint: endpoint.endpoint }, ...QUICK } },
    }).start()
    endpoint.script.push({ status: 503 }, { status: 429 })
    const starts = [
      `{"zeta":12345678901234567,"type":"identify","userId":"u","messageId":"i","timestamp":"${AT}","traits":{"z":76.0,"a":[],"big_spenders":false}`,
      `{"type":"track","event":"E","anonymousId":"a","messageId":"t","timestamp":"${AT}","properties":[],"context":[],"integrations":[]`,
      `{"type":"page","name":"N","anonymousId":"a","messageId":"p","timestamp":"${AT}","properties":{"z":null,"a.b":"é"}`,
      `{"type":"screen","name":"N","anonymousId":"a","messageId":"s","timestamp":"${AT}"`,
    ]
    for (const text of starts) {
      const { type } = JSON.parse(`${text}}`)
      assert.equal((await send(relay, `/v1/${type}`, { body: `${text}}` })).status, 200)
    }
    await accepted(relay, ['group', 'alias', 'delete'].map((type) => ({ type, userId: 'u', groupId: 'g', previousId: 'p', messageId: type })))
    await settled(relay, 'emarsys', 7)
    assert.deepEqual(endpoint.refused, [])
    assert.equal(endpoint.requests.length, 6)
    for (const { body, headers } of endpoint.taken) {
      assert.equal(headers.authorization, 'Basic c2VnbWVudDo=')
      const { receivedAt } = JSON.parse(body)
      assert.ok(starts.some((text) => body === `${text},"originalTimestamp":"${AT}","receivedAt":"${receivedAt}"}`), body)
    }
    assert.equal(await skips(relay, 'type_not_accepted'), 3)
  })

  // Nothing starts without what its mode needs.
  const missing = {
    'no endpoint': [{ apiKey: 'k' }, /endpoint/],
    'no key': [{ endpoint: 'http://127.0.0.1:1/' }, /apiKey/],
    'no user': [{ apiKey: 'k', mode: 'direct', apiSecret: 's' }, /apiUser/],
    'no secret': [{ apiKey: 'k', mode: 'direct', apiUser: 'u' }, /apiSecret/],
    'no token address': [{ apiKey: 'k', mode: 'direct', apiVersion: 'v3', clientId: 'c', clientSecret: 's' }, /tokenUrl/],
    'too much a batch': [{ apiKey: 'k', mode: 'direct', apiUser: 'u', apiSecret: 's', batchSize: 1001 }, /batchSize/],
    'an event id that is none': [{ apiKey: 'k', mode: 'direct', apiUser: 'u', apiSecret: 's', eventMapping: { E: '0' } }, /eventMapping/],
  }
  test('settings that cannot work', async (t) => {
    for (const [what, [settings, words]] of Object.entries(missing)) {
      const relay = new Relay(t, { destinations: { emarsys: { settings } } })
      relay.write()
      const { code, stderr, stdout } = await relay.command('check')
      assert.equal(code, 1, what)
      assert.match(stdout + stderr, words, what)
    }
  })
})
