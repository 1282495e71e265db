// What the two scripts that batch put on the wire: envelopes, signatures, credentials, compression.

import assert from 'node:assert/strict'
import { createHmac } from 'node:crypto'
import test from 'node:test'

import { Partner } from './lib/partner.mjs'
import { Relay } from './lib/relay.mjs'
import { accepted, basic, track } from './lib/sender.mjs'

const SECRET = 'a shared secret'
const LONG = 20_000 // ms: only a full batch leaves before that

async function relayWith(t, destinations) {
  const partner = await Partner.start(t)
  const relay = await new Relay(t, { workers: 1, destinations: destinations(partner.url) }).start()
  return { partner, relay }
}

function signature(body) {
  return createHmac('sha1', SECRET).update(body).digest('hex')
}

function ids(events) {
  return events.map((e) => e.messageId).sort()
}

test('a webhook of batches posts arrays, signed whole and compressed', async (t) => {
  const { partner, relay } = await relayWith(t, (url) => ({
    hook: { script: 'webhook', settings: { url: `${url}/in?v=1`, batchSize: 3, batchWaitMs: LONG, sharedSecret: SECRET, gzip: true,
      headers: { 'X-Team': 'growth' } } },
  }))
  const events = ['a', 'b', 'c'].map((name) => track(name, { properties: { text: 'Grüße' } }))
  await accepted(relay, events)
  await partner.arrived(1)
  const [request] = partner.requests
  assert.equal(request.method, 'POST')
  assert.equal(request.url, '/in?v=1')
  assert.equal(request.headers['content-encoding'], 'gzip')
  assert.equal(request.headers['content-type'], 'application/json')
  assert.equal(request.headers['x-team'], 'growth')
  assert.equal(request.headers['x-signature'], signature(request.body))
  assert.deepEqual(ids(JSON.parse(request.body)), ids(events))
})

test('a webhook of single events posts objects, each signed', async (t) => {
  const { partner, relay } = await relayWith(t, (url) => ({
    hook: { script: 'webhook', settings: { url: `${url}/in`, sharedSecret: SECRET } },
  }))
  const events = ['a', 'b'].map((name) => track(name))
  await accepted(relay, events)
  await partner.arrived(2)
  assert.equal(partner.requests.length, 2)
  for (const request of partner.requests) {
    assert.equal(request.headers['content-encoding'], undefined)
    assert.equal(request.headers['x-signature'], signature(request.body))
  }
  assert.deepEqual(ids(partner.requests.map((r) => JSON.parse(r.body))), ids(events))
})

test('an upstream gets batches with its own write key', async (t) => {
  const { partner, relay } = await relayWith(t, (url) => ({
    upstream: { script: 'segment', settings: { endpoint: `${url}/v1/batch`, writeKey: 'upstream-key', batchSize: 2, batchWaitMs: LONG } },
  }))
  const events = ['a', 'b'].map((name) => track(name, { integrations: { All: false } }))
  await accepted(relay, events)
  await partner.arrived(1)
  const [request] = partner.requests
  assert.equal(request.path, '/v1/batch')
  assert.equal(request.headers.authorization, basic('upstream-key'))
  assert.equal(request.headers['content-encoding'], 'gzip')
  const envelope = JSON.parse(request.body)
  assert.deepEqual(Object.keys(envelope), ['batch', 'sentAt'])
  assert.match(envelope.sentAt, /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/)
  assert.deepEqual(ids(envelope.batch), ids(events))
  assert.deepEqual(envelope.batch[0].integrations, { All: false })
})

test('a batch that is not full leaves when it has waited', async (t) => {
  const { partner, relay } = await relayWith(t, (url) => ({
    upstream: { script: 'segment', settings: { endpoint: `${url}/v1/batch`, writeKey: 'upstream-key', batchWaitMs: 50, gzip: false } },
  }))
  const event = track('a')
  await accepted(relay, [event])
  await partner.arrived(1)
  assert.equal(partner.requests[0].headers['content-encoding'], undefined)
  assert.deepEqual(ids(JSON.parse(partner.requests[0].body).batch), [event.messageId])
})
