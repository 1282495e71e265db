// The SDKs for Node.js, each behind the same few words:
//
//   types           what it can send
//   keepsTrying     whether it tries again, with the settings used here, for longer than the relay is away
//   readsRetryAfter whether it waits for as long as a 429 says
//   carries(call)   what it can carry of what a call says
//   open(t, tap, key)  a client that sends to the tap until the test ends: say(calls) resolves when the SDK is through
//                      with the events, with a list: true for one that the SDK holds for delivered, false when it gave
//                      it up, undefined when it does not tell

import { setMaxListeners } from 'node:events'
import { createRequire } from 'node:module'

import { TYPES } from './calls.mjs'

const require = createRequire(import.meta.url)

setMaxListeners(0) // SDKs put many listeners on one signal while they try again

// Batches of a few events soon, so that one mix is several requests.
const FLUSH_AT = 5
const FLUSH_MS = 50
// SDKs that give up after less than a second by default are told to be patient: some wait twice as long each time, others
// a second at most.
const RETRIES = 9
const RETRIES_OF_A_SECOND = 60

// SDKs whose calls take a message and a callback.
function withCallbacks(client, word = (told) => told) {
  const call = ({ type, told }) => new Promise((done) => { client[type](word(told), (error) => done(!error)) })
  return { say: (calls) => Promise.all(calls.map(call)) }
}

function segmentLike(name, load, options = {}) {
  return {
    name,
    types: TYPES,
    keepsTrying: true,
    readsRetryAfter: !options.maxRetries,
    carries: ({ told }) => told,
    open(t, tap, key) {
      const { Analytics } = load()
      const client = new Analytics({ writeKey: key, host: tap.url, flushAt: FLUSH_AT, flushInterval: FLUSH_MS, ...options })
      client.on('error', () => {}) // the callback is told too
      t.after(() => client.closeAndFlush({ timeout: 1 }))
      return withCallbacks(client)
    },
  }
}

const legacy = {
  name: 'analytics-node 6.2.0',
  types: TYPES,
  keepsTrying: true,
  readsRetryAfter: false,
  carries: ({ told }) => told,
  open(t, tap, key) {
    const Analytics = require('analytics-node')
    return withCallbacks(new Analytics(key, {
      host: tap.url, flushAt: FLUSH_AT, flushInterval: FLUSH_MS, retryCount: RETRIES, errorHandler() {},
    }))
  },
}

// Its name for the time that the caller gives is another.
const rudder = {
  name: '@rudderstack/rudder-sdk-node 3.0.13',
  types: TYPES,
  keepsTrying: true,
  readsRetryAfter: true,
  carries: ({ told }) => told,
  open(t, tap, key) {
    const Analytics = require('@rudderstack/rudder-sdk-node')
    const client = new Analytics(key, {
      dataPlaneUrl: tap.url, flushAt: FLUSH_AT, flushInterval: FLUSH_MS, retryCount: RETRIES, logLevel: 'none', errorHandler() {},
    })
    return withCallbacks(client, ({ timestamp, ...told }) => ({ ...told, originalTimestamp: timestamp }))
  },
}

// Jitsu keeps who the user is, puts a page's name among its properties, and takes neither times nor integrations; group
// takes no context. One request an event, one try, and no word about the outcome.
const jitsu = {
  name: '@jitsu/js 1.11.0',
  types: ['identify', 'track', 'page', 'group'],
  keepsTrying: false,
  readsRetryAfter: false,
  carries({ told: { timestamp, integrations, context, name, category, ...told } }) {
    if (context && !told.groupId) told.context = context
    if (name) told.properties = { ...told.properties, name }
    if (category) told.properties.category = category
    return told
  },
  open(t, tap, key) {
    const { jitsuAnalytics } = require('@jitsu/js')
    const client = jitsuAnalytics({ host: tap.url, writeKey: key, s2s: true, errorPolicy() {} })
    const call = {
      identify: ({ userId, traits }, options) => client.identify(userId, traits, options),
      track: ({ event, properties }, options) => client.track(event, properties, options),
      page: ({ name, category, properties }, options) => client.page({ name, category, ...properties }, options),
      group: ({ groupId, traits }, options) => client.group(groupId, traits, options),
    }
    return {
      async say(calls) {
        await Promise.all(calls.map(({ type, told: { userId, anonymousId, context, ...told } }) =>
          call[type]({ userId, ...told }, { userId, anonymousId, context })))
        return []
      },
    }
  },
}

export const NODE_SENDERS = [
  segmentLike('@segment/analytics-node 3.1.0', () => require('@segment/analytics-node')),
  segmentLike('@segment/analytics-node 3.0.0', () => require('@segment/analytics-node-3.0.0'), { maxRetries: RETRIES_OF_A_SECOND }),
  legacy,
  rudder,
  segmentLike('@customerio/cdp-analytics-node 0.5.9', () => require('@customerio/cdp-analytics-node'), { maxRetries: RETRIES_OF_A_SECOND }),
  jitsu,
]
