// The SDKs for browsers, in Chromium, against the built relay: lib/scenarios.mjs says what happens to each.

import { after, before, describe, test } from 'node:test'

import { Browsers, browserSenders } from './lib/browser_senders.mjs'
import { hasChromium } from './lib/chromium.mjs'
import { SCENARIOS } from './lib/scenarios.mjs'

const browsers = new Browsers()

describe('Chromium', { concurrency: 3, skip: hasChromium ? false : 'Chromium is not installed' }, () => {
  before(() => browsers.start())
  after(() => browsers.stop())
  for (const [what, scenario] of Object.entries(SCENARIOS)) {
    for (const sdk of browserSenders(browsers)) test(`${sdk.name}: ${what}`, (t) => scenario(t, sdk))
  }
})
