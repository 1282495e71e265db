// Audiences and computed traits of Segment's Engage come as ordinary identify calls whose traits have the audience's name,
// and as track calls, Audience Entered and Audience Exited. Each partner that takes identify gets them; nobody fails.

import assert from 'node:assert/strict'
import test from 'node:test'

import { destinations, NAMES } from '../fault/lib/shipped.mjs'
import { Partner } from './lib/partner.mjs'
import { Relay } from './lib/relay.mjs'
import { accepted } from './lib/sender.mjs'
import { until } from './lib/wait.mjs'

// As Engage sends them: the audience is the only trait, the e-mail address stands in context.traits, other members of
// the context tell where the event comes from.
const CONTEXT = {
  personas: { computation_class: 'audience', computation_id: 'aud_2x', computation_key: 'vip_shoppers', namespace: 'spa_1', space_id: 'spa_1' },
  integration: { name: 'engage' },
}
const email = 'ann@example.com'

function identify(id, traits, more = {}) {
  return { type: 'identify', messageId: id, userId: 'ann', context: { ...CONTEXT, traits: { email, ...more } }, traits, integrations: { All: true } }
}

const IDENTIFIES = [
  identify('m-entered', { vip_shoppers: true }, { firstName: 'Ann', lastName: 'Lee' }),
  identify('m-exited', { vip_shoppers: false }, { firstName: 'Ann', lastName: 'Lee' }),
  identify('m-no-name', { vip_shoppers: true }),
  identify('m-computed', { orders_30d: 3, ltv: 1520.75, favourites: ['tea', 'cups'], last_seen: null, by_shop: { at: 1 }, nothing: [] }),
  { type: 'identify', messageId: 'm-anonymous', anonymousId: 'a-1', context: [], traits: { vip_shoppers: true }, integrations: [] },
]
const track = (messageId, event) => ({
  type: 'track', messageId, event, userId: 'ann', context: { ...CONTEXT, traits: { email } },
  properties: { audience_key: 'vip_shoppers', audience_name: 'VIP shoppers', vip_shoppers: event === 'Audience Entered' },
})
const TRACKS = [track('m-track-entered', 'Audience Entered'), track('m-track-exited', 'Audience Exited')]

test('audiences reach all partners that take identify', async (t) => {
  const partners = {}
  for (const name of NAMES) partners[name] = await Partner.start(t, { answer: { status: 200, body: '{}' } })
  const config = destinations((name) => partners[name]?.url ?? '')
  const pageLoads = await Partner.start(t)
  Object.assign(config.impact.settings, { enableIdentifyEvents: true, trackingBaseUrl: pageLoads.url })
  const direct = { mode: 'direct', apiUser: 'customer', apiSecret: 's', baseUrl: (await Partner.start(t, { answer: { status: 200, body: '{"replyCode":0}' } })).url }
  config.emarsys_direct = { script: 'emarsys', settings: direct }
  const relay = await new Relay(t, { workers: 1, destinations: config }).start()
  await accepted(relay, [...IDENTIFIES, ...TRACKS])
  const names = Object.keys(config)
  const settled = (destination) => Promise.all(['delivered', 'skipped'].map((what) => relay.metric(`tidegate_events_${what}_total`, { destination })))
  await until('each event has come to each destination', async () => {
    for (const name of names) {
      const [delivered, skipped] = await settled(name)
      if (delivered + skipped !== IDENTIFIES.length + TRACKS.length) throw new Error(`${name}: ${delivered} delivered, ${skipped} skipped`)
    }
    return true
  })
  assert.deepEqual(await relay.dead(), [])
  assert.deepEqual(await relay.dead('--set-aside'), [])

  const all = [...IDENTIFIES, ...TRACKS].map((e) => e.messageId).sort()
  for (const name of ['webhook', 'segment', 'emarsys']) {
    assert.deepEqual(partners[name].messageIds().sort(), all, name)
    for (const event of IDENTIFIES) {
      const got = partners[name].events().find((e) => e.messageId === event.messageId)
      assert.deepEqual(got.traits, event.traits, `${name}: ${event.messageId}`)
    }
  }

  const extole = partners.extole.requests.map((r) => JSON.parse(r.body))
  const told = extole.filter((e) => e.event_name === 'identify').map((e) => e.data)
  assert.equal(told.length, 4, 'all but the one whom Extole cannot know')
  assert.deepEqual(told.map((data) => String(data.vip_shoppers)).sort(), ['false', 'true', 'true', 'undefined'])
  const computed = told.find((data) => data.orders_30d)
  assert.deepEqual([computed.orders_30d, computed.ltv, computed.favourites, computed.nothing], [3, 1520.75, ['tea', 'cups'], []])
  assert.deepEqual(extole.map((e) => e.event_name).filter((name) => name !== 'identify').sort(), ['Audience Entered', 'Audience Exited'])

  const affiliates = partners.refersion.requests.map((r) => JSON.parse(r.body))
  assert.deepEqual(affiliates.map((a) => [a.email, a.first_name, a.last_name]), Array(2).fill([email, 'Ann', 'Lee']), 'those with a name')

  assert.equal(partners.impact.requests.length, 0, 'no conversion is an audience')
  assert.deepEqual(pageLoads.requests.map((r) => new URLSearchParams(r.body).get('CustomerId') ?? new URLSearchParams(r.body).get('CustomProfileId')).sort(),
    ['a-1', 'ann', 'ann', 'ann', 'ann'])
  assert.equal(partners.everflow.requests.length, 0, 'nor is one')
  assert.equal(await relay.metric('tidegate_events_skipped_total', { destination: 'everflow', reason: 'not_mapped' }), 2)
  assert.equal(await relay.metric('tidegate_events_delivered_total', { destination: 'emarsys_direct' }), 6)
  assert.equal(await relay.metric('tidegate_events_skipped_total', { destination: 'emarsys_direct', reason: 'no_primary_key' }), 1)
})
