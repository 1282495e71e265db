// The SDKs for browsers, behind the same words as those for Node.js. What is said goes into a page of its own.

import { TYPES } from './calls.mjs'
import { launch, PATIENCE_MS, servePages } from './chromium.mjs'

const PAGES = {
  segment: '@segment/analytics-next/dist/umd/index.js',
  rudder: '@rudderstack/analytics-js/dist/npm/modern/bundled/umd/index.js',
}

// Runs in the page.
/* global AnalyticsNext, rudderanalytics */
function startSegment({ tap, key, options }) {
  window.analytics = AnalyticsNext.AnalyticsBrowser.load({ writeKey: key, cdnURL: tap },
    { integrations: { 'Segment.io': { apiHost: `${new URL(tap).host}/v1`, protocol: 'http', ...options } } })
  return window.analytics.then(() => undefined)
}

function startRudder({ tap, key }) {
  window.analytics = new rudderanalytics.RudderAnalytics()
  window.analytics.load(key, tap, { configUrl: tap, logLevel: 'NONE' })
  return new Promise((done) => { window.analytics.ready(done) })
}

function sayInPage({ calls, time }) {
  for (const { type, told } of calls) {
    const { userId, anonymousId, event, name, category, groupId, previousId, properties, traits, context, integrations } = told
    const options = { anonymousId, integrations, context, [time]: told.timestamp?.toISOString() }
    for (const key of Object.keys(options)) if (options[key] === undefined) delete options[key]
    if (type === 'identify') window.analytics.identify(userId, traits, options)
    if (type === 'track') window.analytics.track(event, properties, options)
    if (type === 'page' || type === 'screen') window.analytics[type](category, name, properties, options)
    if (type === 'group') window.analytics.group(groupId, traits, options)
    if (type === 'alias') window.analytics.alias(userId, previousId, options)
  }
}

// One browser and one server of pages for all tests of a file.
export class Browsers {
  async start() {
    this.server = await servePages(PAGES)
    this.browser = await launch()
  }

  async stop() {
    await this.browser?.close()
    this.server?.close()
  }

  // Each test has a profile of its own: what an SDK keeps for the next visit is not another's. `start` is run in the page
  // with `argument`; `time` is what the SDK calls the time that the caller gives.
  async open(t, { page, start, argument, time = 'timestamp' }) {
    const context = await this.browser.newContext()
    context.setDefaultTimeout(PATIENCE_MS)
    t.after(() => context.close())
    const tab = await context.newPage()
    tab.on('pageerror', (error) => t.diagnostic(`in the page: ${error}`))
    await tab.goto(`http://127.0.0.1:${this.server.address().port}/${page}.html?utm_source=mail&utm_campaign=spring`)
    await tab.evaluate(start, argument)
    return {
      async say(calls) {
        await tab.evaluate(sayInPage, { calls, time })
        return []
      },
    }
  }
}

// A page knows who its user is: only identify and alias say it.
function asInBrowser({ type, told: { userId, ...rest } }) {
  return type === 'identify' || type === 'alias' ? { userId, ...rest } : rest
}

function withoutNulls(value) {
  if (typeof value !== 'object' || Array.isArray(value) || value instanceof Date) return value
  return Object.fromEntries(Object.entries(value).filter(([, v]) => v !== null).map(([k, v]) => [k, withoutNulls(v)]))
}

// Arrays of arrays in traits become maps of theirs.
function merged({ nested, ...traits }) {
  if (!nested) return traits
  return { ...traits, nested: { ...nested, list: nested.list.map((item) => (Array.isArray(item) ? { ...item } : item)) } }
}

// RudderStack's leaves out what is null, and has the user's traits in the context alone.
function asInRudder(call) {
  const { traits, ...told } = withoutNulls(asInBrowser(call))
  if (call.type === 'identify') return { ...told, context: { ...told.context, traits: merged(traits) } }
  return traits ? { ...told, traits: merged(traits) } : told
}

function segment(browsers, name, { readsRetryAfter, ...options }) {
  return {
    name: `@segment/analytics-next 1.84.3, ${name}`,
    types: TYPES,
    keepsTrying: true,
    readsRetryAfter,
    carries: asInBrowser,
    open: (t, tap, key) => browsers.open(t, { page: 'segment', start: startSegment, argument: { tap: tap.url, key, options } }),
  }
}

export function browserSenders(browsers) {
  return [
    segment(browsers, 'one event a request', { readsRetryAfter: true }),
    // New events make it flush before its time, those that were refused among them.
    segment(browsers, 'batching', {
      readsRetryAfter: false, deliveryStrategy: { strategy: 'batching', config: { size: 5, timeout: 200 } },
    }),
    {
      name: '@rudderstack/analytics-js 3.34.1',
      types: TYPES.filter((type) => type !== 'screen'),
      keepsTrying: true,
      readsRetryAfter: false,
      carries: asInRudder,
      open: (t, tap, key) => browsers.open(t, {
        page: 'rudder', start: startRudder, argument: { tap: tap.url, key }, time: 'originalTimestamp',
      }),
    },
  ]
}
