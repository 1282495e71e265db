// The unmodified Segment SDK for Node sends every type of event while a worker and then the whole relay are killed; the
// partners get exactly what their contracts say, each event at least once, repeats only with the same order id.

import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { setMaxListeners } from 'node:events'
import test from 'node:test'

import { Analytics } from '@segment/analytics-node'

import { pairs, Partner } from './lib/partner.mjs'
import { Relay, WRITE_KEY } from './lib/relay.mjs'
import { until } from './lib/wait.mjs'

setMaxListeners(0) // the SDK puts many listeners on one signal while it retries; that is its own affair

const WHEN = '2026-01-02T03:04:05.678Z'
const SID = 'IRabc123'
const TOKEN = 'impact token'

const sha1 = (text) => createHash('sha1').update(text).digest('hex')

async function relayFor(t, everflow, impact, hook) {
  const relay = await new Relay(t, {
    sources: [{ name: 'shop', write_key: WRITE_KEY }],
    destinations: {
      everflow: {
        settings: {
          apiKey: 'everflow-api-key', postbackUrl: `${everflow.url}/?nid=321&oid=7&transaction_id={transaction_id}`,
          eventMapping: { 'Order Completed': '24' }, advertiserId: '55',
        },
      },
      impact: {
        settings: {
          accountSid: SID, apiKey: TOKEN, campaignId: '1234', baseUrl: impact.url, trackingBaseUrl: impact.url,
          enablePageEvents: true,
        },
        rates: { account: { per_second: 1000, burst: 1000 } }, // its own allows 50 at once, then one in 3.6 s
      },
      hook: { script: 'webhook', settings: { url: `${hook.url}/hook` } },
    },
  }).start()
  relay.pinPorts()
  return relay
}

function sdkFor(t, relay, errors) {
  const sdk = new Analytics({ writeKey: WRITE_KEY, host: relay.url, flushAt: 1, maxRetries: 20, httpRequestTimeout: 5000 })
  sdk.on('error', (error) => errors.push(error))
  t.after(() => sdk.closeAndFlush({ timeout: 1000 }))
  return sdk
}

function order(number, email = `Jane.Doe+${number}@Example.com `) {
  return {
    userId: `user-${number}`,
    event: 'Order Completed',
    timestamp: new Date(WHEN),
    properties: {
      orderId: `order-${number}`, total: 76.5, currency: 'eur', adv1: 'a b&c',
      products: [{ product_id: 'p-1', name: 'Žluťoučký kůň', price: 25.5, quantity: 3 }],
    },
    context: {
      ip: '203.0.113.7', referrer: { type: 'everflow', id: `tx-${number}` }, traits: { email },
      page: { url: 'https://shop.example/thanks?irclickid=click%2D1' },
    },
  }
}

// Each type reaches a destination that takes them all, with its own fields.
test('every type of event', async (t) => {
  const [everflow, impact, hook] = [await Partner.start(t), await Partner.start(t), await Partner.start(t)]
  const relay = await relayFor(t, everflow, impact, hook)
  const errors = []
  const sdk = sdkFor(t, relay, errors)
  sdk.identify({ userId: 'u', traits: { email: 'u@example.com', plan: 'pro', 'naïve key': 'žluťoučký 😀' } })
  sdk.track({ userId: 'u', event: 'Order Completed', properties: { total: 1 } })
  sdk.page({ userId: 'u', category: 'Docs', name: 'Home', properties: { url: 'https://shop.example/' } })
  sdk.screen({ anonymousId: 'a', name: 'Start' })
  sdk.group({ userId: 'u', groupId: 'g', traits: { seats: 5 } })
  sdk.alias({ userId: 'u', previousId: 'a' })
  await sdk.flush()
  await hook.arrived(6)
  assert.deepEqual(errors, [])
  const byType = Object.fromEntries(hook.events().map((e) => [e.type, e]))
  assert.deepEqual(Object.keys(byType).sort(), ['alias', 'group', 'identify', 'page', 'screen', 'track'])
  assert.deepEqual(byType.identify.traits, { email: 'u@example.com', plan: 'pro', 'naïve key': 'žluťoučký 😀' })
  assert.deepEqual([byType.page.category, byType.page.name], ['Docs', 'Home'])
  assert.deepEqual([byType.group.groupId, byType.group.traits], ['g', { seats: 5 }])
  assert.deepEqual([byType.alias.userId, byType.alias.previousId], ['u', 'a'])
  assert.deepEqual([byType.screen.anonymousId, byType.screen.name], ['a', 'Start'])
  for (const event of hook.events()) {
    assert.match(event.messageId, /^node-next-\d+-[0-9a-f-]{36}$/)
    assert.deepEqual(event.context.library, { name: '@segment/analytics-node', version: '3.1.0' })
    assert.equal(event._metadata, undefined)
    assert.equal(event.writeKey, undefined)
    for (const name of ['timestamp', 'originalTimestamp', 'sentAt', 'receivedAt']) {
      assert.match(event[name], /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/, `${event.type}: ${name}`)
    }
  }
})

// One order, and the two requests that it becomes: each partner's contract, whole.
test('what Everflow and impact.com get', async (t) => {
  const [everflow, impact, hook] = [await Partner.start(t), await Partner.start(t), await Partner.start(t)]
  const relay = await relayFor(t, everflow, impact, hook)
  const sdk = sdkFor(t, relay, [])
  sdk.track(order(1))
  sdk.page({ anonymousId: 'anon-1', timestamp: new Date(WHEN), properties: { url: 'https://shop.example/?im_ref=c-2' },
    context: { traits: { email: 'jane@example.com' } } })
  await sdk.flush()
  const [event] = (await hook.arrived(2)) && hook.events().filter((e) => e.type === 'track')
  const [page] = hook.events().filter((e) => e.type === 'page')
  const [postback] = await everflow.arrived(1)
  assert.deepEqual([postback.method, postback.path, postback.body], ['GET', '/', ''])
  assert.deepEqual(pairs(postback.url.split('?')[1]), {
    adv1: 'a b&c', adv_event_id: '24', aid: '55', amount: '76.5', email: order(1).context.traits.email, nid: '321', oid: '7',
    order_id: 'order-1', timestamp: String(Math.floor(Date.parse(event.timestamp) / 1000)), transaction_id: 'tx-1', user_id: 'user-1',
  })
  assert.deepEqual(postback.headers, {
    host: `127.0.0.1:${everflow.port}`, 'user-agent': 'tidegate/0.1.0', accept: '*/*', 'accept-encoding': 'gzip, deflate',
  })
  const requests = await impact.arrived(2)
  const conversion = requests.find((r) => r.path.startsWith('/Advertisers/'))
  const load = requests.find((r) => r.path === '/PageLoad')
  assert.deepEqual([conversion.method, conversion.url], ['POST', `/Advertisers/${SID}/Conversions`])
  assert.deepEqual(conversion.headers, {
    host: `127.0.0.1:${impact.port}`, 'user-agent': 'tidegate/0.1.0', accept: 'application/json', 'accept-encoding': 'gzip, deflate',
    'content-type': 'application/x-www-form-urlencoded',
    authorization: `Basic ${Buffer.from(`${SID}:${TOKEN}`).toString('base64')}`,
    'content-length': String(Buffer.byteLength(conversion.body)),
  })
  assert.deepEqual(pairs(conversion.body), {
    CampaignId: '1234', ClickId: 'click-1', CurrencyCode: 'EUR', CustomerEmail: sha1('jane.doe+1@example.com'), CustomerId: 'user-1',
    EventDate: event.timestamp, EventTypeCode: 'Order Completed', IpAddress: '203.0.113.7', ItemName1: 'Žluťoučký kůň',
    ItemPrice1: '25.5', ItemQuantity1: '3', ItemSku1: 'p-1', OrderId: 'order-1',
    PageUrl: 'https://shop.example/thanks?irclickid=click%2D1',
  })
  assert.deepEqual([load.method, load.headers.authorization], ['POST', undefined], 'page loads carry no token')
  assert.deepEqual(pairs(load.body), {
    CampaignId: '1234', ClickId: 'c-2', CustomProfileId: 'anon-1', CustomerEmail: sha1('jane@example.com'),
    EventDate: page.timestamp, PageUrl: 'https://shop.example/?im_ref=c-2',
  })
})

// The SDK keeps sending while a worker is killed, then the relay: its own retries bring everything in, and nobody misses
// an order.
test('kills between', async (t) => {
  const [everflow, impact, hook] = [await Partner.start(t), await Partner.start(t), await Partner.start(t)]
  const relay = await relayFor(t, everflow, impact, hook)
  const errors = []
  const sdk = sdkFor(t, relay, errors)
  let sent = 0
  const some = (n) => { for (let i = 0; i < n; i++) sdk.track(order(++sent)) }
  some(20)
  await everflow.arrived(5)
  some(10)
  await relay.killWorker(0)
  some(20)
  await everflow.arrived(30)
  some(10)
  await relay.killAll()
  some(10)
  await relay.start()
  some(20)
  const numbers = Array.from({ length: sent }, (_, i) => `order-${i + 1}`)
  const complete = (partner, ids) => until('every order is there', () => {
    const got = new Set(partner.requests.map(ids))
    const missing = numbers.filter((n) => !got.has(n))
    if (missing.length === 0) return true
    throw new Error(`missing ${missing}; the SDK said: ${errors.map((e) => e.code ?? e.message)}`)
  }, { seconds: 60 })
  const everflowOrder = (r) => pairs(r.url.split('?')[1]).order_id
  const impactOrder = (r) => pairs(r.body).OrderId
  await complete(everflow, everflowOrder)
  await complete(impact, impactOrder)
  await until('every event is there', () => new Set(hook.events().map((e) => e.properties.orderId)).size === sent)
  // A repeat is the same request again. Only its time may differ: when the SDK sends again, it says so in a new sentAt.
  const timeless = (r) => [r.url, r.body].map((text) => text.replace(/(timestamp=|EventDate=)[^&]*/, '$1'))
  for (const [partner, id] of [[everflow, everflowOrder], [impact, impactOrder]]) {
    const first = new Map()
    for (const request of partner.requests) {
      const seen = first.get(id(request)) ?? request
      first.set(id(request), seen)
      assert.deepEqual(timeless(request), timeless(seen))
    }
    assert.equal(first.size, sent)
  }
  assert.equal(new Set(hook.messageIds()).size, sent)
  assert.deepEqual(errors, [])
  assert.deepEqual(await relay.dead(), [])
})
