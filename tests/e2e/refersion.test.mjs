// Refersion: the relay against a stand-in that keeps affiliates by the published reference, and knows nothing of the script.

import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import test from 'node:test'

import { Refersion } from './partners/refersion.mjs'
import { Relay, WRITE_KEY } from './lib/relay.mjs'
import { accepted, send, track } from './lib/sender.mjs'
import { EventEndpoint, settled } from './lib/standin.mjs'
import { until } from './lib/wait.mjs'

const QUICK = { retry: { first: '50ms', max: '300ms' } }
const SOURCES = [{ name: 'web', write_key: WRITE_KEY, allow_delete: true }]

function refersion(partner, settings = {}, more = {}) {
  return {
    sources: SOURCES,
    destinations: { refersion: { settings: { apiKey: 'pub_abc.sec_def', baseUrl: partner.url, ...settings }, ...QUICK, ...more } },
  }
}

function identify(traits, more = {}) {
  return { type: 'identify', userId: 'user-1', messageId: randomUUID(), traits, ...more }
}

// As Segment sends it: arrays where objects are meant, the address beside them.
function deletion(more = {}) {
  const id = randomUUID()
  return { type: 'delete', channel: 'server', messageId: `delete-${id}`, userId: 'user-1', context: [], integrations: [], ...more }
}

function deadLetters(relay, n) {
  return until(`${n} dead letters`, async () => {
    const found = await relay.dead()
    return found.length >= n && found
  })
}

const calls = (partner) => partner.requests.map((r) => r.path.replace('/v2/affiliate/', ''))

const BASE = { email: 'jane@shop.example', name: 'Jane Doe' }
const CREATED = { first_name: 'Jane', last_name: 'Doe', email: 'jane@shop.example', status: 'PENDING', send_welcome: 'FALSE' }
const place = (address) => ({ ...BASE, address })

// traits, the rest of the event, what is created (changes of the above)
const rows = {
  'a name of three words': [{ ...BASE, name: 'Jane van Doe' }, {}, { last_name: 'van Doe' }],
  'a name of one word': [{ ...BASE, name: 'Jane' }, {}, { last_name: '-' }],
  'firstName and lastName': [{ email: BASE.email, firstName: 'A', lastName: 'B' }, {}, { first_name: 'A', last_name: 'B' }],
  'first_name and last_name': [{ email: BASE.email, first_name: 'A', last_name: 'B' }, {}, { first_name: 'A', last_name: 'B' }],
  'camel case first': [
    { email: BASE.email, first_name: 'A', last_name: 'B', firstName: 'C', lastName: 'D' }, {}, { first_name: 'C', last_name: 'D' },
  ],
  'the missing half is in the name': [{ ...BASE, firstName: 'Ann' }, {}, { first_name: 'Ann' }],
  'the missing other half': [{ ...BASE, last_name: 'Fox' }, {}, { last_name: 'Fox' }],
  'the address of the traits first': [BASE, { email: 'other@shop.example', context: { traits: { email: 'third@shop.example' } } }, {}],
  'then that of the context': [
    { name: 'Jane Doe' }, { email: 'other@shop.example', context: { traits: { email: 'third@shop.example' } } }, { email: 'third@shop.example' },
  ],
  'then that of the event': [{ name: 'Jane Doe' }, { email: 'other@shop.example' }, { email: 'other@shop.example' }],
  'blanks around it': [{ ...BASE, email: '  jane@shop.example ' }, {}, {}],
  'traits of the context': [{}, { context: { traits: { ...BASE, address: { city: 'Rome' } } } }, { city: 'Rome' }],
  'a whole address': [
    place({ street: '1 Main St', city: 'Bath', state: 'Somerset', postalCode: 'BA1 1AA', country: 'gb' }), {},
    { address1: '1 Main St', city: 'Bath', state: 'Somerset', zip: 'BA1 1AA', country: 'GB' },
  ],
  'postal_code as a number': [place({ postal_code: 10001 }), {}, { zip: '10001' }],
  'a country of three letters': [place({ country: 'USA' }), {}, { country: 'US' }],
  'a country by name': [place({ country: 'Germany' }), {}, { country: 'DE' }],
  'a country that there is not': [place({ country: 'Atlantis' }), {}, {}],
  'an address in one line': [place('1 Main St, Bath'), {}, { address1: '1 Main St, Bath' }],
  'phone and company': [{ ...BASE, phone: '+44 1', company: 'Acme' }, {}, { phone: '+44 1', company: 'Acme' }],
  'a company as an object': [{ ...BASE, company: { name: 'Acme', id: 3 } }, {}, { company: 'Acme' }],
  'an id of letters and digits': [BASE, { userId: 'u123' }, { unique_merchant_id: 'u123' }],
  'text of any kind': [
    { ...BASE, name: 'Zoë "X" O\'Hara\n☕', company: '</script>&=%' }, {},
    { first_name: 'Zoë', last_name: '"X" O\'Hara\n☕', company: '</script>&=%' },
  ],
  'nulls and other types': [
    { ...BASE, firstName: null, phone: null, company: [], address: { street: null, city: { a: 1 }, state: '', postalCode: 7, country: 5 } }, {},
    { zip: '7' },
  ],
  'an audience beside': [{ ...BASE, big_spender: true }, {}, {}],
}

// Every row of the mapping, as the partner sees it; each password is another, as strong as it must be.
test('identify creates an affiliate', async (t) => {
  const partner = await Refersion.start(t)
  const relay = await new Relay(t, { workers: 1, ...refersion(partner) }).start()
  const passwords = new Set()
  for (const [what, [traits, more, wanted]] of Object.entries(rows)) {
    partner.affiliates = []
    const before = partner.requests.length
    await accepted(relay, [identify(traits, more)])
    await partner.arrived(before + 1)
    assert.deepEqual(partner.refused.map((r) => [what, r.body, r.answer.body]), [])
    const { password, ...body } = JSON.parse(partner.requests.at(-1).body)
    assert.deepEqual(body, { ...CREATED, ...wanted }, what)
    passwords.add(password)
  }
  await settled(relay, 'refersion', Object.keys(rows).length)
  assert.equal(passwords.size, Object.keys(rows).length)
  for (const password of passwords) assert.ok(!relay.log.includes(password))
  assert.deepEqual(calls(partner), Object.keys(rows).map(() => 'new'))
  assert.deepEqual(await relay.dead(), [])
})

// The settings reach the affiliate; the secret key may have dots, and blanks around the halves are nobody's.
test('settings', async (t) => {
  const partner = await Refersion.start(t, { secretKey: 'sec.def' })
  const relay = await new Relay(t, refersion(partner, {
    apiKey: ' pub_abc . sec.def ', affiliateStatus: 'ACTIVE', sendWelcome: true, offerId: '12345',
  })).start()
  await accepted(relay, [identify(BASE)])
  await partner.arrived(1)
  assert.deepEqual(partner.refused, [])
  const { password, ...body } = JSON.parse(partner.requests[0].body)
  assert.deepEqual(body, { ...CREATED, status: 'ACTIVE', send_welcome: 'TRUE', offer: '12345' })
  assert.equal(typeof password, 'string')
})

// Who cannot become an affiliate, and calls that Refersion does not take, are ordinary traffic.
test('what does not concern Refersion', async (t) => {
  const partner = await Refersion.start(t)
  const relay = await new Relay(t, refersion(partner, { deleteAction: 'none' })).start()
  const events = [
    identify({ big_spender: true }), identify({ name: 'Jane Doe' }), identify({ email: BASE.email }), identify({}),
    identify({ email: 'nobody', name: 'Jane Doe' }), identify({ email: '@shop.example', name: 'Jane Doe' }),
    identify(BASE, { integrations: { Refersion: false } }), identify(BASE, { integrations: { All: false } }),
    track('Order Completed', { context: { traits: BASE } }), { ...track('p'), type: 'page', name: 'p', context: { traits: BASE } },
    { ...track('s'), type: 'screen', name: 's' }, { ...track('g'), type: 'group', groupId: 'g', traits: BASE },
    { ...track('a'), type: 'alias', previousId: 'b' }, deletion({ email: BASE.email }),
  ]
  await accepted(relay, events)
  await settled(relay, 'refersion', events.length)
  assert.deepEqual(partner.requests, [])
  assert.deepEqual((await relay.dead()).filter((d) => !/email/.test(d.reason)), [])
})

// An address that is registered already is no error, whatever Refersion calls it, and nothing is changed about it.
test('one who is there already', async (t) => {
  const partner = await Refersion.start(t)
  partner.add(BASE.email)
  const relay = await new Relay(t, refersion(partner)).start()
  for (const words of ['The email has already been taken.', 'Affiliate exists', 'This address is TAKEN']) {
    partner.alreadyTaken = words
    await accepted(relay, [identify(BASE)])
  }
  await partner.arrived(3)
  await settled(relay, 'refersion', 3)
  assert.deepEqual(calls(partner), ['new', 'new', 'new'])
  assert.deepEqual([partner.affiliates.length, partner.affiliates[0].first_name], [1, 'Old'])
  assert.deepEqual(await relay.dead(), [])
})

// updateExisting: name and place of the very affiliate are edited, not of one whose address has the same letters in it.
test('one who is there already is updated', async (t) => {
  const partner = await Refersion.start(t)
  for (const other of ['xjane@shop.example', 'jane@shop.example.org', 'mary.jane@shop.example', 'ajane@shop.example']) partner.add(other)
  const jane = partner.add('Jane@Shop.example', { status: 'ACTIVE', password: 'as before' })
  const relay = await new Relay(t, refersion(partner, { updateExisting: true })).start()
  await accepted(relay, [identify({ ...BASE, address: { city: 'Rome', country: 'ITA' } })])
  await until('she is edited', () => jane.city === 'Rome')
  await settled(relay, 'refersion', 1)
  assert.deepEqual([jane.first_name, jane.last_name, jane.country, jane.status, jane.password], ['Jane', 'Doe', 'IT', 'ACTIVE', 'as before'])
  assert.ok(partner.affiliates.filter((a) => a !== jane).every((a) => a.first_name === 'Old'))
  assert.deepEqual(calls(partner), ['new', 'search', 'search', 'get', 'edit'], 'she is on the second page')
  assert.deepEqual(partner.refused.map((r) => r.path), ['/v2/affiliate/new'])
  assert.deepEqual(await relay.dead(), [])
})

// Deletion: the very address is switched off; a second time, and for an address that nobody has, there is nothing to do.
for (const [action, status] of [['disable', 'DISABLED'], ['deny', 'DENIED']]) {
  test(`delete, ${action}`, async (t) => {
    const partner = await Refersion.start(t)
    for (const other of ['xjane@shop.example', 'jane@shop.example.org', 'jane@shop.example.net', 'ajane@shop.example']) partner.add(other)
    const jane = partner.add('JANE@shop.example')
    const relay = await new Relay(t, refersion(partner, action === 'disable' ? {} : { deleteAction: action })).start()
    assert.equal((await send(relay, '/v1/delete', { body: deletion({ email: 'jane@shop.example' }) })).status, 200)
    await until('she is off', () => jane.status === status)
    await settled(relay, 'refersion', 1)
    await accepted(relay, [deletion({ traits: { email: ' jane@shop.example' } }), deletion({ context: { traits: { email: 'nobody@shop.example' } } })])
    await settled(relay, 'refersion', 3)
    assert.deepEqual([...new Set(partner.affiliates.filter((a) => a !== jane).map((a) => a.status))], ['ACTIVE'])
    assert.deepEqual(partner.refused, [])
    assert.deepEqual(await relay.dead(), [])
    await accepted(relay, [deletion({ messageId: 'whom' })])
    const [dead] = await deadLetters(relay, 1)
    assert.equal(dead.messageId, 'whom', 'a deletion without an address needs a person')
  })
}

// A failure in the middle of a chain: it is done again up to its end, and nothing is done to anybody else.
test('chains go on after failures', async (t) => {
  const partner = await Refersion.start(t)
  const jane = partner.add('jane@shop.example')
  const joe = partner.add('joe@shop.example')
  const relay = await new Relay(t, { workers: 1, ...refersion(partner, { updateExisting: true }, { concurrency: 1 }) }).start()
  const failing = new Map([['/v2/affiliate/get', 503], ['/v2/affiliate/status_change', 500], ['/v2/affiliate/edit', 502]])
  const answer = partner.answer
  partner.answer = (request, ...rest) => {
    const status = failing.get(request.path)
    return status && failing.delete(request.path) ? { status } : answer(request, ...rest)
  }
  await accepted(relay, [deletion({ email: 'jane@shop.example' }), identify({ name: 'Joe New', email: 'joe@shop.example' })])
  await until('both are done', () => jane.status === 'DISABLED' && joe.last_name === 'New')
  await settled(relay, 'refersion', 2)
  assert.equal(failing.size, 0)
  assert.deepEqual([partner.affiliates.length, joe.status], [2, 'ACTIVE'])
  assert.deepEqual(await relay.dead(), [])
})

// What Refersion refuses is a dead letter with its words, and without the password and the keys; the others go on.
test('refusals', async (t) => {
  const partner = await Refersion.start(t)
  const relay = await new Relay(t, refersion(partner)).start()
  partner.script.push({ status: 422, headers: { 'content-type': 'application/json' }, body: '{"errors":["The phone number is odd."]}' })
  await accepted(relay, [identify(BASE, { messageId: 'odd' })])
  await deadLetters(relay, 1)
  partner.script.push({ status: 400, body: '{"error":"Missing required field X"}' })
  await accepted(relay, [identify({ ...BASE, email: 'b@shop.example' }, { messageId: 'lacking' })])
  const dead = await deadLetters(relay, 2)
  await accepted(relay, [identify({ ...BASE, email: 'c@shop.example' })])
  await until('the next is taken', () => partner.affiliates.length === 1)
  const words = { odd: [422, /The phone number is odd/], lacking: [400, /Missing required field X/] }
  for (const { id, messageId, status, attempts } of dead) {
    assert.deepEqual([status, attempts], [words[messageId][0], 1])
    const { stdout } = await relay.command('dead', 'show', String(id))
    assert.match(stdout, words[messageId][1])
    const secrets = ['pub_abc', 'sec_def', ...partner.requests.map((r) => JSON.parse(r.body).password)]
    for (const secret of secrets) assert.ok(!(stdout + relay.log).includes(secret), `${secret} in ${stdout}`)
  }
})

// Wrong keys park the destination; nobody is lost.
test('401 parks', async (t) => {
  const partner = await Refersion.start(t, { secretKey: 'changed' })
  const relay = await new Relay(t, refersion(partner)).start()
  await accepted(relay, [identify(BASE)])
  await until('it is parked', async () => (await relay.destination('refersion')).state === 'parked')
  partner.secretKey = 'sec_def'
  assert.equal((await relay.command('resume', 'refersion')).code, 0)
  await until('she is there', () => partner.affiliates.length === 1)
  await settled(relay, 'refersion', 1)
  assert.deepEqual(await relay.dead(), [])
})

// Too many requests, then faults: it waits as told, then everybody is there once.
test('429, then 5xx', async (t) => {
  const partner = await Refersion.start(t, { script: [{ status: 429, headers: { 'retry-after': '1' } }, { status: 500 }, { status: 503 }] })
  const relay = await new Relay(t, { workers: 1, ...refersion(partner, {}, { concurrency: 1 }) }).start()
  await accepted(relay, [identify(BASE)])
  const [first] = await partner.arrived(1)
  await accepted(relay, [identify({ ...BASE, email: 'b@shop.example' })])
  await until('both are there', () => partner.affiliates.length === 2)
  assert.ok(partner.requests[1].at - first.at >= 900, 'nothing is sent before the time that the partner named')
  await settled(relay, 'refersion', 2)
  assert.deepEqual(partner.refused, [])
  assert.deepEqual(await relay.dead(), [])
})

// kill -9 while answers are out: each becomes an affiliate once and is welcomed once, each deletion is done, and what was
// done before is no error afterwards.
test('kill -9 in between', async (t) => {
  const partner = await Refersion.start(t, { pageSize: 20 })
  const leaving = Array.from({ length: 6 }, (_, i) => partner.add(`leaving${i}@shop.example`))
  const staying = partner.add('not.leaving0@shop.example')
  const answer = partner.answer
  partner.answer = async (request, ...rest) => {
    const given = await answer(request, ...rest)
    return partner.taken.length > 12 && !partner.revived ? 'hang' : given
  }
  const relay = await new Relay(t, refersion(partner, { sendWelcome: true })).start()
  const coming = Array.from({ length: 12 }, (_, i) => `coming${i}@shop.example`)
  await accepted(relay, [...leaving.map((a) => deletion({ email: a.email })), ...coming.map((email) => identify({ email, name: 'A B' }))])
  await until('answers hang', () => partner.taken.length > 12)
  await relay.killAll()
  partner.revived = true
  await relay.start()
  await until('all have come and gone', () => partner.welcomed.length >= 12 && leaving.every((a) => a.status === 'DISABLED'))
  await settled(relay, 'refersion', 18)
  assert.deepEqual(partner.welcomed.sort(), coming.sort())
  assert.equal(partner.affiliates.length, 19)
  assert.equal(staying.status, 'ACTIVE')
  assert.deepEqual([...new Set(partner.refused.map((r) => r.path))].filter((path) => !path.endsWith('/new')), [])
  assert.deepEqual(await relay.dead(), [])
  const before = partner.requests.length
  await relay.restart()
  await accepted(relay, [identify({ email: 'last@shop.example', name: 'A B' })])
  await partner.arrived(before + 1)
  await settled(relay, 'refersion', 19)
  assert.equal(partner.requests.length, before + 1, 'an orderly restart repeats nothing')
})

// Forward: the events whole, deletions among them, with both halves of the key as the user.
test('forward', async (t) => {
  const partner = await EventEndpoint.start(t, { apiKey: 'pub_abc.sec_def', types: ['identify', 'delete'] })
  const relay = await new Relay(t, refersion(partner, { baseUrl: undefined, mode: 'forward', endpoint: partner.endpoint })).start()
  const at = '2026-01-02T03:04:05.678Z'
  const texts = [
    `{"type":"identify","userId":"u","messageId":"m-1","email":"top@shop.example","traits":{"name":"Jane Doe","email":"jane@shop.example",`
    + `"n":12345678901234567,"z":1,"a":[]},"context":{"ip":"203.0.113.9"},"timestamp":"${at}"`,
    `{"type":"delete","channel":"server","messageId":"delete-1","userId":"u","email":"jane@shop.example","context":[],"integrations":[],"timestamp":"${at}"`,
  ]
  for (const text of texts) {
    assert.equal((await send(relay, '/v1/batch', { body: `{"batch":[${text}}]}` })).status, 200)
  }
  await accepted(relay, [track('E')])
  await settled(relay, 'refersion', 3)
  assert.deepEqual(partner.refused, [])
  assert.equal(partner.requests.length, 2)
  for (const request of partner.requests) {
    assert.equal(request.headers.authorization, 'Basic cHViX2FiYy5zZWNfZGVmOg==')
    const start = texts.find((text) => request.body.startsWith(text))
    assert.ok(start, request.body)
    const { receivedAt } = JSON.parse(request.body)
    assert.equal(request.body, `${start},"originalTimestamp":"${at}","receivedAt":"${receivedAt}"}`)
  }
})
