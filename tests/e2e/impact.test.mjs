// impact.com: the relay against stand-ins of its two hosts, which know the documented rules and nothing of the script.

import assert from 'node:assert/strict'
import test from 'node:test'

import { ImpactApi, ImpactTracking } from './partners/impact.mjs'
import { Relay } from './lib/relay.mjs'
import { accepted, send, track } from './lib/sender.mjs'
import { base64, EventEndpoint, settled } from './lib/standin.mjs'
import { until } from './lib/wait.mjs'

const AT = '2026-01-02T03:04:05.678Z'
const EMAIL = 'john.doe@example.com'
const EMAIL_SHA1 = '73ec53c4ba1747d485ae2a0d7bfafa6cda80a5a9'
const EMAIL_SHA256 = '836f82db99121b3481011f16b49dfa5fbc714a0d1b1b9f784a1ebbbf5b39577f'
const QUICK = { retry: { first: '50ms', max: '300ms' } }
const ACCOUNT = { accountSid: 'IRsid', apiKey: 'token', campaignId: '1234' }

// Both hosts, and a relay that sends to them.
async function world(t, settings = {}, { config = {}, destination = {}, ...options } = {}) {
  const api = await ImpactApi.start(t, options)
  const tracking = await ImpactTracking.start(t)
  const relay = new Relay(t, {
    destinations: {
      impact: { settings: { ...ACCOUNT, baseUrl: api.url, trackingBaseUrl: tracking.url, ...settings }, ...QUICK, ...destination },
    },
    ...config,
  })
  await relay.start()
  return { api, tracking, relay }
}

function order(properties = {}, { context = {}, ...more } = {}) {
  return track('Order Completed', { anonymousId: 'anon-1', timestamp: AT, properties, ...more, context: { ip: '203.0.113.9', ...context } })
}

function page(more = {}) {
  const { event, ...rest } = order({}, { context: { page: { url: 'https://shop.example/p' } } })
  return { ...rest, type: 'page', name: 'P', ...more }
}

function deadLetters(relay, n) {
  return until(`${n} dead letters`, async () => {
    const found = await relay.dead()
    return found.length >= n && found
  })
}

function skipped(relay, reason) {
  return relay.metric('tidegate_events_skipped_total', { destination: 'impact', reason })
}

// Sends events one after the other and compares what arrives; each says what it expects beside what all have.
async function compare(relay, partner, list, rows, common) {
  for (const [what, [event, wanted]] of Object.entries(rows)) {
    const before = partner.requests.length
    await accepted(relay, [event])
    await partner.arrived(before + 1)
    assert.deepEqual(partner.refused.map((r) => [what, r.body, r.answer.body]), [])
    const all = Object.entries({ ...common(event), ...wanted }).filter(([, value]) => value !== undefined)
    assert.deepEqual(list().at(-1), Object.fromEntries(all), what)
  }
  await settled(relay, 'impact', Object.keys(rows).length)
  assert.deepEqual(await relay.dead(), [])
}

const common = (event) => ({
  CampaignId: '1234', EventDate: AT, CustomerId: 'user-1', CustomProfileId: 'anon-1', IpAddress: '203.0.113.9',
  EventTypeCode: event.event, OrderId: event.messageId,
})
const commonPage = () => ({
  CampaignId: '1234', EventDate: AT, CustomerId: 'user-1', CustomProfileId: 'anon-1', IpAddress: '203.0.113.9',
  PageUrl: 'https://shop.example/p',
})

// The whole request of an order: where, as whom, as what.
test('an order, whole', async (t) => {
  const { api, tracking, relay } = await world(t)
  const products = [
    { sku: 's1', product_id: 'p1', name: 'Tea & "Co"', category: 'C', brand: 'B', quantity: 2, price: 10.5, coupon: 'X' },
    { product_id: 'p2', price: '7', quantity: '1' },
  ]
  await accepted(relay, [order({
    order_id: 'o-1', currency: 'usd', coupon: 'SAVE', discount: 5, shipping: '4.5', tax: 1.25, margin: 3, subtotal: 28, revenue: 30, products,
    status: 'NEW', email: EMAIL,
  })])
  const [request] = await api.arrived(1)
  assert.deepEqual(api.refused, [])
  assert.deepEqual(api.conversions, [{
    CampaignId: '1234', EventDate: AT, CustomerId: 'user-1', CustomProfileId: 'anon-1', IpAddress: '203.0.113.9',
    CustomerEmail: EMAIL_SHA1, EventTypeCode: 'Order Completed', OrderId: 'o-1', CurrencyCode: 'USD', OrderPromoCode: 'SAVE', OrderDiscount: '5',
    OrderShipping: '4.5', OrderTax: '1.25', OrderMargin: '3', CustomerStatus: 'NEW',
    ItemSku1: 's1', ItemName1: 'Tea & "Co"', ItemCategory1: 'C', ItemBrand1: 'B', ItemQuantity1: '2', ItemPrice1: '10.5', ItemPromoCode1: 'X',
    ItemSku2: 'p2', ItemPrice2: '7', ItemQuantity2: '1',
  }])
  assert.equal(request.headers.authorization, 'Basic SVJzaWQ6dG9rZW4=')
  assert.equal(request.headers.accept, 'application/json')
  assert.equal(request.headers['ir-version'], undefined)
  await settled(relay, 'impact', 1)
  assert.deepEqual([tracking.requests.length, await relay.dead()], [0, []])
})

const paid = (more) => ({ currency: 'EUR', ...more })
const EUR = { CurrencyCode: 'EUR' }
const at = (context) => order({}, { context })
const referred = (referrer) => at({ referrer })
const device = { id: 'D', advertisingId: 'A', adTrackingEnabled: false, manufacturer: 'Apple', model: 'iPhone 15' }

const conversions = {
  'orderId': [order({ orderId: 'a' }), { OrderId: 'a' }],
  'order_id first': [order({ orderId: 'a', order_id: 'b' }), { OrderId: 'b' }],
  'transactionID': [order({ transactionID: 7, checkout_id: 'c' }), { OrderId: '7' }],
  'transaction_id': [order({ transaction_id: 't', checkout_id: 'c' }), { OrderId: 't' }],
  'checkout_id': [order({ checkout_id: 'c' }), { OrderId: 'c' }],
  'a message id that is too long': [order({}, { messageId: 'm'.repeat(80) }), { OrderId: 'm'.repeat(64) }],
  'an id of 17 digits': [order({ order_id: '12345678901234567' }), { OrderId: '12345678901234567' }],
  'coupon_id': [order({ coupon_id: 'C' }), { OrderPromoCode: 'C' }],
  'subtotal of an order without items': [order(paid({ subtotal: 90, revenue: 95, total: 99, discount: 5 })), { ...EUR, OrderSubTotalPostDiscount: '90' }],
  'then revenue': [order(paid({ revenue: '95', total: 99 })), { ...EUR, OrderSubTotalPostDiscount: '95' }],
  'then total': [order(paid({ total: 99 })), { ...EUR, OrderSubTotalPostDiscount: '99' }],
  'no items in the list': [order(paid({ total: 99, products: [] })), { ...EUR, OrderSubTotalPostDiscount: '99' }],
  'one product on the order itself': [
    order(paid({ product_id: 'p', name: 'N', price: 3, quantity: 1, total: 3 })), { ...EUR, ItemSku1: 'p', ItemName1: 'N', ItemPrice1: '3', ItemQuantity1: '1' },
  ],
  'a long amount without exponent': [order(paid({ total: 1e15 })), { ...EUR, OrderSubTotalPostDiscount: '1000000000000000' }],
  'status of the traits': [order({ status: 'OLD' }, { context: { traits: { status: 'NEW' } } }), { CustomerStatus: 'NEW' }],
  'where the customer lives': [
    at({ traits: { address: { city: 'Bath', country: 'GB', postalCode: 'BA1', state: 'Somerset' } } }),
    { CustomerCity: 'Bath', CustomerCountry: 'GB', CustomerPostCode: 'BA1', CustomerRegion: 'Somerset' },
  ],
  'where the customer lives, otherwise': [
    at({ traits: { country: 'GB', region: 'West', address: { zip: 7 } } }), { CustomerCountry: 'GB', CustomerRegion: 'West', CustomerPostCode: '7' },
  ],
  'latitude and longitude': [at({ location: { latitude: 51.5, longitude: -0.12 } }), { Latitude: '51.5', Longitude: '-0.12' }],
  'e-mail of the context': [order({ email: 'x@y.example' }, { context: { traits: { email: ` ${EMAIL.toUpperCase()} ` } } }), { CustomerEmail: EMAIL_SHA1 }],
  'a hash already': [order({ email: EMAIL_SHA256.toUpperCase() }), { CustomerEmail: EMAIL_SHA256 }],
  'an e-mail that is none': [order({ email: { a: 1 } }), {}],
  'a user id that is an e-mail': [order({}, { userId: EMAIL }), { CustomerId: EMAIL_SHA1 }],
  'no user id': [order({}, { userId: undefined }), { CustomerId: undefined }],
  'the id of the traits': [order({}, { userId: undefined, context: { traits: { id: 't-1' } } }), { CustomerId: 't-1' }],
  'click of a referrer': [referred({ type: 'impactRadius', id: 'Click1' }), { ClickId: 'Click1' }],
  'click of a referrer, in short': [referred({ type: 'IMPACT', id: 'Click1' }), { ClickId: 'Click1' }],
  'click of a referrer without a type': [referred({ id: 'Click1', url: 'https://blog.example/' }), { ClickId: 'Click1', ReferringUrl: 'https://blog.example/' }],
  'a click of somebody else': [referred({ type: 'everflow', id: 'Click1' }), {}],
  'clickId': [order({ clickId: 'a', click_id: 'b', irclickid: 'c' }), { ClickId: 'a' }],
  'click_id': [order({ click_id: 'b', irclickid: 'c' }), { ClickId: 'b' }],
  'irclickid': [order({ irclickid: 'c' }), { ClickId: 'c' }],
  'a click in the address': [
    at({ page: { url: 'https://s.example/?a=1&irclickid=x%2By', referrer: 'https://r.example/' } }),
    { ClickId: 'x+y', PageUrl: 'https://s.example/?a=1&irclickid=x%2By', ReferringUrl: 'https://r.example/' },
  ],
  'a click in the search': [at({ page: { search: '?ClickID=abc' } }), { ClickId: 'abc' }],
  'a click of im_ref': [order({ url: 'https://s.example/?im_ref=abc' }), { ClickId: 'abc', PageUrl: 'https://s.example/?im_ref=abc' }],
  'a phone': [
    at({
      os: { name: 'iOS', version: '17' }, device, app: { name: 'App', version: '1.2', namespace: 'com.app', build: '3' },
      network: { carrier: 'T' }, locale: 'en-GB', userAgent: 'UA/1 (é)',
    }),
    {
      AppleIfv: 'D', AppleIfa: 'A', PropertyId: '22', TrackingConsent: 'false', DeviceMfr: 'Apple', DeviceModel: 'iPhone 15', DeviceOs: 'iOS',
      DeviceOsVer: '17', AppName: 'App', AppVer: '1.2', AppPackage: 'com.app', DeviceCarrier: 'T', DeviceLocale: 'en-GB', UserAgent: 'UA/1 (é)',
    },
  ],
  'another phone': [
    at({ device: { id: 'D', advertisingId: 'A', type: 'android' }, app: { build: '3' } }), { AndroidId: 'D', GoogAId: 'A', PropertyId: '11', AppPackage: '3' },
  ],
  'an installation': [
    { ...at({ os: { name: 'Android' }, device: { advertisingId: 'A' } }), event: 'Application Installed' },
    { EventTypeCode: 'Application Installed', GoogAId: 'A', PropertyId: '11', DeviceOs: 'Android' },
  ],
  'nulls and other types': [
    order({ order_id: null, currency: null, products: null, coupon: ['a'], clickId: {}, discount: 'much' }, { context: { page: [], device: null, os: 'x' } }), {},
  ],
  'bytes that mean something in a form': [order({ order_id: 'a&b=c#d%e+f\r\né☕' }), { OrderId: 'a&b=c#d%e+f\r\né☕' }],
}

// Every row of the mapping of a conversion, its order of fallbacks and its types, as impact sees them.
test('conversions', async (t) => {
  const { api, relay } = await world(t, { androidAppId: '11', iOsAppId: '22' })
  await compare(relay, api, () => api.conversions, conversions, common)
})

const pages = {
  'a page': [page(), {}],
  'a screen': [page({ type: 'screen' }), {}],
  'an identify': [
    page({ type: 'identify', traits: { email: EMAIL, big_spender: true } }), { CustomerEmail: EMAIL_SHA1 },
  ],
  'the app is opened': [
    order({ url: 'https://shop.example/p' }, { event: 'Application Opened', context: { os: { name: 'ipados' }, device, location: { latitude: 1, longitude: 2 } } }),
    { AppleIfv: 'D', AppleIfa: 'A', PropertyId: '22', TrackingConsent: 'false', DeviceMfr: 'Apple', DeviceModel: 'iPhone 15', DeviceOs: 'ipados' },
  ],
  'a click': [page({ context: { ip: '203.0.113.9', page: { url: 'https://shop.example/p', search: '?irclickid=abc' } } }), { ClickId: 'abc' }],
  'the default address': [page({ type: 'screen', context: { ip: '203.0.113.9' } }), { PageUrl: 'app://shop' }],
}

// Page loads go to the other host, without the token, for each call whose toggle is on.
test('page loads', async (t) => {
  const { api, tracking, relay } = await world(t, {
    enablePageEvents: true, enableScreenEvents: true, enableIdentifyEvents: true, iOsAppId: '22', defaultPageUrl: 'app://shop',
  })
  await compare(relay, tracking, () => tracking.pageLoads, pages, commonPage)
  for (const request of tracking.requests) assert.ok(!JSON.stringify(request).includes('token'))
  assert.equal(api.requests.length, 0)
})

// Calls whose toggle is off, events in no list and other types are ordinary traffic.
test('what does not concern impact', async (t) => {
  const { api, tracking, relay } = await world(t)
  const events = [
    page(), page({ type: 'screen' }), page({ type: 'identify', traits: {} }), page({ type: 'group', groupId: 'g' }),
    page({ type: 'alias', previousId: 'x' }), track('Product Viewed'), track('order completed'),
    order({}, { integrations: { 'Impact Partnership Cloud': false } }), order({}, { integrations: { All: false } }),
  ]
  await accepted(relay, events)
  await settled(relay, 'impact', events.length)
  assert.deepEqual([api.requests, tracking.requests, await relay.dead()], [[], [], []])
})

// The lists replace their defaults, whether they come as lists or as one text; the first that has the event decides.
test('lists of events', async (t) => {
  const { api, tracking, relay } = await world(t, {
    actionEventNames: 'Bought, Signed Up', installEventNames: ['Installed', 'Bought'], pageLoadEventNames: ['Opened', 'Bought'],
    defaultPageUrl: 'https://shop.example/', eventTypeId: '8180', apiVersion: '14',
  })
  const names = ['Bought', ' Signed Up ', 'Installed', 'Opened', 'Order Completed', 'Application Installed', 'Application Opened']
  await accepted(relay, names.map((event) => order({}, { event, messageId: event.trim() })))
  await settled(relay, 'impact', names.length)
  assert.deepEqual([api.refused, tracking.refused], [[], []])
  assert.deepEqual(api.conversions.map((c) => c.OrderId).sort(), ['Bought', 'Installed', 'Signed Up'])
  assert.deepEqual(api.conversions.map((c) => [c.EventTypeId, c.EventTypeCode]), Array(3).fill(['8180', undefined]))
  for (const request of api.requests) assert.equal(request.headers['ir-version'], '14')
  assert.equal(tracking.pageLoads.length, 1)
})

// The two mappings: parameters of the event, last of all, and of the products, with the defaults where they find nothing.
test('mappings of the customer', async (t) => {
  const { api, tracking, relay } = await world(t, {
    customParameterMapping: {
      CustomerStatus: 'properties.customer_status', Text1: 'properties.products.1.size', Text2: 'context.page.title', Text3: 'messageId',
      Text4: 'properties.products', Text5: 'properties.nothing', CustomerEmail: 'properties.contact', Numeric1: 'properties.n',
    },
    customMappingForProducts: { ItemSku: 'variant', ItemSubTotal: 'line', ItemMpn: 'mpn' },
    enablePageEvents: true,
  })
  const properties = {
    currency: 'EUR', status: 'OLD', customer_status: 'NEW', contact: EMAIL, n: 4, products: [
      { sku: 's1', variant: 'v1', line: 20, quantity: 2 }, { sku: 's2', size: 'XL', price: 3, mpn: 'm' },
    ],
  }
  await accepted(relay, [order(properties, { messageId: 'm-1', context: { page: { title: 'T' } } })])
  await api.arrived(1)
  assert.deepEqual(api.refused.map((r) => r.answer.body), [])
  assert.deepEqual(api.conversions, [{
    ...common({ event: 'Order Completed', messageId: 'm-1' }), CurrencyCode: 'EUR', CustomerStatus: 'NEW', CustomerEmail: EMAIL_SHA1,
    Text1: 'XL', Text2: 'T', Text3: 'm-1', Numeric1: '4',
    ItemSku1: 'v1', ItemSubTotal1: '20', ItemQuantity1: '2', ItemSku2: 's2', ItemPrice2: '3', ItemMpn2: 'm',
  }])
  await accepted(relay, [page({ messageId: 'm-2', properties: { contact: EMAIL } })])
  await tracking.arrived(1)
  assert.deepEqual(tracking.refused, [])
  assert.deepEqual(tracking.pageLoads, [{ ...commonPage(), Text3: 'm-2', CustomerEmail: EMAIL_SHA1 }])
})

// Another digest, or none: what a host would refuse is not sent there.
for (const emailHash of ['sha256', 'none']) {
  test(`emailHash ${emailHash}`, async (t) => {
    const { api, tracking, relay } = await world(t, { emailHash, enablePageEvents: true })
    await accepted(relay, [order({ email: EMAIL })])
    await accepted(relay, [page({ context: { page: { url: 'https://shop.example/p' }, traits: { email: EMAIL } } })])
    await settled(relay, 'impact', 2)
    assert.deepEqual([api.refused.map((r) => r.answer.body), tracking.refused.map((r) => r.answer.body), await relay.dead()], [[], [], []])
    assert.deepEqual([api.conversions.length, tracking.pageLoads.length], [1, 1])
    if (emailHash === 'sha256') assert.equal(api.conversions[0].CustomerEmail, EMAIL_SHA256)
    else assert.equal(tracking.pageLoads[0].CustomerEmail, EMAIL)
  })
}

// What impact refuses, in either spelling, is a dead letter with its words; what is too long for it is not even sent.
test('refusals', async (t) => {
  const { api, relay } = await world(t)
  await accepted(relay, [order({ order_id: 'x'.repeat(65) }, { messageId: 'long' })])
  const [long] = await deadLetters(relay, 1)
  assert.deepEqual([long.messageId, api.requests.length], ['long', 0])
  api.script.push({
    status: 400, headers: { 'content-type': 'application/json' },
    body: '{"Status":"ERROR","Message":"Bad","Errors":[{"Field":"OrderId","Message":"is a strange one"}]}',
  })
  await accepted(relay, [order({}, { messageId: 'strange' })])
  await deadLetters(relay, 2)
  api.script.push({ status: 400, body: '{"Status":"ERROR","errors":[{"field":"EventDate","level":"error","message":"was long ago"}]}' })
  await accepted(relay, [order({}, { messageId: 'old' })])
  const dead = await deadLetters(relay, 3)
  await accepted(relay, [order({}, { messageId: 'good' })])
  await until('the good one is taken', () => api.orders.has('Order Completed good'))
  for (const [messageId, words] of [['strange', /is a strange one/], ['old', /was long ago/]]) {
    const { id, status, attempts } = dead.find((d) => d.messageId === messageId)
    assert.deepEqual([status, attempts], [400, 1])
    const { stdout } = await relay.command('dead', 'show', String(id))
    assert.match(stdout, words)
    assert.ok(!/SVJzaWQ6dG9rZW4=|token/.test(stdout + relay.log))
  }
})

// A wrong token parks; a second refusal of the account's rights does too. Nothing is lost by either.
test('401 and 403 park', async (t) => {
  const { api, relay } = await world(t, {}, { apiKey: 'new token', config: { workers: 1 } }) // each worker counts for itself
  const parked = (reason) => until('it is parked', async () => {
    const d = await relay.destination('impact')
    return d.state === 'parked' && d.parked_reason === reason
  })
  await accepted(relay, [order({}, { messageId: 'm-0' })])
  await parked('http_401')
  api.apiKey = 'token'
  assert.equal((await relay.command('resume', 'impact')).code, 0)
  await until('it is there', () => api.orders.size === 1)
  await settled(relay, 'impact', 1) // a success ends the count of refusals
  const denied = { status: 403, body: '{"Status":"ERROR","Message":"The token has no such scope"}' }
  api.script.push(denied)
  await accepted(relay, [order({}, { messageId: 'm-1' })])
  await deadLetters(relay, 1)
  api.script.push(denied)
  await accepted(relay, [order({}, { messageId: 'm-2' })])
  await parked('http_403')
  assert.equal((await relay.command('resume', 'impact')).code, 0)
  await until('the second is there', () => api.orders.has('Order Completed m-2'))
})

// The account's limit: when it is used up the relay waits as many seconds as impact says, then goes on; none is lost, and
// none is tried in vain meanwhile.
test('X-RateLimit-Reset', async (t) => {
  const { api, relay } = await world(t, {}, { limit: 3, seconds: 2, config: { workers: 1 } })
  await accepted(relay, Array.from({ length: 5 }, (_, i) => order({ order_id: `o-${i}` })))
  await until('all five', () => api.orders.size === 5)
  await settled(relay, 'impact', 5)
  assert.deepEqual([...new Set(api.refused.map((r) => r.answer.status))], [429])
  assert.ok(api.refused.length <= 2, 'those that were under way when the limit was used up, and none during the wait')
  assert.ok(api.taken[3].at - api.taken[2].at >= 1900)
  assert.deepEqual(await relay.dead(), [])
})

// 429 with Retry-After, then faults of either host.
test('429, then 5xx', async (t) => {
  const { api, tracking, relay } = await world(t, { enablePageEvents: true }, {
    script: [{ status: 429, headers: { 'retry-after': '1' } }, { status: 500 }, { status: 503 }], config: { workers: 1 }, destination: { concurrency: 1 },
  })
  tracking.script.push({ status: 502 }, { status: 504 })
  await accepted(relay, [order({ order_id: 'o-1' })])
  const [first] = await api.arrived(1)
  await accepted(relay, [order({ order_id: 'o-2' }), page()])
  await until('all are there', () => api.orders.size === 2 && tracking.pageLoads.length === 1)
  assert.ok([...api.requests.slice(1), ...tracking.requests].every((r) => r.at - first.at >= 900), 'nothing is sent before the time that impact named')
  await settled(relay, 'impact', 3)
  assert.deepEqual(await relay.dead(), [])
})

// kill -9 while answers are out: each order is there, and what came twice is the same order, which impact knows by its id.
test('kill -9 in between', async (t) => {
  const { api, relay } = await world(t)
  const answer = api.answer
  api.answer = async (request, ...rest) => {
    const given = await answer(request, ...rest)
    return api.taken.length > 10 && !api.revived ? 'hang' : given
  }
  const ids = Array.from({ length: 24 }, (_, i) => `m-${i}`)
  await accepted(relay, ids.map((messageId) => order({}, { messageId })))
  await until('answers hang', () => api.taken.length > 10)
  await relay.killAll()
  api.revived = true
  await relay.start()
  await until('every order is there', () => api.orders.size === ids.length)
  await settled(relay, 'impact', ids.length)
  assert.deepEqual([...api.orders.keys()].sort(), ids.map((id) => `Order Completed ${id}`).sort())
  assert.equal(new Set(api.conversions.map((c) => JSON.stringify(c))).size, ids.length, 'a repeat is the same conversion')
  const before = api.requests.length
  await relay.restart()
  await accepted(relay, [order({}, { messageId: 'after' })])
  await api.arrived(before + 1)
  await settled(relay, 'impact', ids.length + 1)
  assert.equal(api.requests.length, before + 1, 'an orderly restart repeats nothing')
  assert.deepEqual([api.refused, await relay.dead()], [[], []])
})

// Forward: the events whole, with the key as the user, and the thirteen other settings in the header.
test('forward', async (t) => {
  const settings = {
    accountSid: 'IRsid', campaignId: '1234', actionEventNames: ['Bought'], installEventNames: ['Installed'], pageLoadEventNames: ['Opened'],
    enablePageEvents: true, enableScreenEvents: true, enableIdentifyEvents: true, eventTypeId: '8180', androidAppId: '11', iOsAppId: '22',
    customParameterMapping: { Text1: 'properties.size' }, customMappingForProducts: { ItemSku: 'variant' },
  }
  const partner = await EventEndpoint.start(t, { apiKey: 'segment', settings, types: ['track', 'page', 'screen', 'identify'] })
  const relay = await new Relay(t, {
    destinations: { impact: { settings: { ...settings, apiKey: 'segment', mode: 'forward', endpoint: partner.endpoint }, ...QUICK } },
  }).start()
  const text = `{"type":"track","event":"Bought","userId":"u","messageId":"m","n":12345678901234567,"properties":{"z":1,"products":[]},`
    + `"integrations":[],"context":{"ip":"203.0.113.9"},"timestamp":"${AT}"`
  assert.equal((await send(relay, '/v1/track', { body: `${text}}` })).status, 200)
  const [request] = await partner.arrived(1)
  assert.deepEqual(partner.refused.map((r) => r.answer.body), [])
  assert.equal(request.headers.authorization, `Basic ${base64('segment:')}`)
  assert.equal(request.headers.authorization, 'Basic c2VnbWVudDo=')
  const { receivedAt } = JSON.parse(request.body)
  assert.equal(request.body, `${text},"originalTimestamp":"${AT}","receivedAt":"${receivedAt}"}`)
  await accepted(relay, [page(), page({ type: 'screen' }), page({ type: 'identify' }), page({ type: 'group', groupId: 'g' })])
  await settled(relay, 'impact', 5)
  assert.deepEqual(partner.taken.map((r) => JSON.parse(r.body).type).sort(), ['identify', 'page', 'screen', 'track'])
  assert.deepEqual([partner.refused, await relay.dead()], [[], []])
})
