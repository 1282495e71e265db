// All shipped destinations at once, each with a partner of its own, and events that carry an id to every partner.

import { Partner } from '../../e2e/lib/partner.mjs'

const FAST = { first: '20ms', max: '200ms' }
const PLENTY = { per_second: 100000, burst: 100000 }

// All of them; url(name) is the partner's address.
export function destinations(url) {
  return {
    webhook: { settings: { url: url('webhook'), batchSize: 20, batchWaitMs: 20 } },
    segment: { settings: { endpoint: `${url('segment')}/v1/batch`, writeKey: 'wk', batchSize: 20, batchWaitMs: 20 } },
    emarsys: { settings: { apiKey: 'key', endpoint: `${url('emarsys')}/events` } },
    everflow: { settings: {
      apiKey: 'key', baseUrl: url('everflow'), eventMapping: { 'Order Completed': '24' },
      postbackUrl: 'https://track.example/?nid=1&transaction_id={transaction_id}',
    } },
    extole: { settings: { apiKey: 'key', baseUrl: url('extole') }, rates: { requests: PLENTY } },
    impact: {
      settings: { accountSid: 'sid', apiKey: 'key', campaignId: '1', baseUrl: url('impact'), trackingBaseUrl: url('impact') }, rates: { account: PLENTY },
    },
    refersion: { settings: { apiKey: 'pub.sec', baseUrl: url('refersion') } },
  }
}

export const NAMES = Object.keys(destinations(() => ''))
const TAKES_ORDERS = NAMES.filter((name) => name !== 'refersion')
const TAKES_PEOPLE = ['refersion', 'webhook', 'segment']

// Who gets this event.
export function takers(event) {
  return event.type === 'identify' ? TAKES_PEOPLE : TAKES_ORDERS
}

export function orderOrPerson(id, random) {
  const common = { messageId: id, userId: id, anonymousId: id }
  const email = `${id}@shop.example`
  if (random(3) === 0) return { type: 'identify', ...common, traits: { email, firstName: 'Ada', lastName: 'L' } }
  return {
    type: 'track', event: 'Order Completed', ...common,
    context: {
      referrer: { type: 'everflow', id: 'f3b7a1c09d2e4f5a8b6c7d8e9f001122' }, traits: { email },
      page: { url: 'https://shop.example/?irclickid=xYz' },
    },
    properties: { order_id: id, email, total: 76, currency: 'EUR', pad: 'x'.repeat(random(500)) },
  }
}

// {config, got, times}: the `destinations` of a configuration, and per destination the set of ids that its partner has
// taken, and how often it has taken each kind of request for each ("POST /path id": n). A partner takes when it answers
// 200; `refuses` says when it does not, with 500.
export async function shipped(t, refuses = () => false) {
  const partners = {}
  const got = {}
  const times = {}
  for (const name of NAMES) {
    got[name] = new Set()
    times[name] = new Map()
    partners[name] = await Partner.start(t, { answer: (request, partner) => {
      partner.requests.length = 0 // long runs: only the ids are kept
      if (refuses(name)) return { status: 500 }
      for (const id of new Set((request.url + request.body).match(/tk\d+n\d+i\d+z/g))) {
        const what = `${request.method} ${request.path} ${id}`
        got[name].add(id)
        times[name].set(what, (times[name].get(what) ?? 0) + 1)
      }
      return { status: 200, body: '{}' }
    } })
  }
  const config = destinations((name) => partners[name]?.url ?? '')
  for (const name of NAMES) config[name] = { retry: FAST, ...config[name] }
  return { config, got, times, partners }
}
