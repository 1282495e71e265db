// The SDKs for Node.js against the built relay: lib/scenarios.mjs says what happens to each.

import { describe, test } from 'node:test'

import { NODE_SENDERS } from './lib/node_senders.mjs'
import { SCENARIOS } from './lib/scenarios.mjs'

// Most of the time the SDKs wait to try again.
describe('Node.js', { concurrency: 6 }, () => {
  for (const [what, scenario] of Object.entries(SCENARIOS)) {
    for (const sdk of NODE_SENDERS) test(`${sdk.name}: ${what}`, (t) => scenario(t, sdk))
  }
})
