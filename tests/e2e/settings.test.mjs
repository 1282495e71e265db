// What the shipped destinations refuse in their settings, before any event: each with the path that a person would look for.

import assert from 'node:assert/strict'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import test from 'node:test'

import { toLua } from './lib/lua.mjs'
import { command, folder } from './lib/relay.mjs'

// `tidegate check` of a configuration with one destination `d`: its exit code and what it said.
async function check(t, script, settings) {
  const dir = folder(t)
  const file = join(dir, 'tidegate.lua')
  writeFileSync(file, `return ${toLua({
    listen: ['127.0.0.1:0'],
    spool: { path: join(dir, 'spool') },
    sources: [{ name: 'web', write_key: 'key' }],
    destinations: { d: { script, settings } }
  })}\n`)
  const { code, stdout, stderr } = await command(['check', '-c', file], { cwd: dir })
  return { code, said: stdout + stderr }
}

const everflow = { apiKey: 'k', eventMapping: { Purchase: '24' }, postbackUrl: 'https://track.example.com/?nid=1' }
const impact = { accountSid: 'sid', apiKey: 'token', campaignId: '1' }
const webhook = { url: 'https://hooks.example/in' }
const refersion = { apiKey: 'public.secret' }
const extole = { apiKey: 'token' }
const emarsys = { mode: 'direct', apiUser: 'customer', apiSecret: 'secret' }
const v3 = { apiVersion: 'v3', tokenUrl: 'https://login.example/token', clientId: 'id', clientSecret: 'secret' }
const segment = { endpoint: 'https://api.example/v1/batch', writeKey: 'key' }

const accepted = [
  ['everflow', everflow],
  ['everflow', { ...everflow, postbackUrl: undefined, trackingDomain: 'track.example.com', networkId: '1' }],
  ['everflow', { apiKey: 'k', eventMapping: { Purchase: '24' }, mode: 'forward', endpoint: 'https://partner.example/' }],
  ['impact', impact],
  ['impact', { ...impact, mode: 'forward', endpoint: 'https://partner.example/' }],
  ['refersion', refersion],
  ['refersion', { ...refersion, mode: 'forward', endpoint: 'https://partner.example/' }],
  ['extole', extole],
  ['extole', { ...extole, mode: 'forward', endpoint: 'https://partner.example/', forwardAuth: 'bearer' }],
  ['emarsys', emarsys],
  ['emarsys', { mode: 'direct', ...v3, keyField: 'uid', contactListId: '7', userIdField: '9', anonymousIdField: '10' }],
  ['emarsys', { apiKey: 'key', endpoint: 'https://partner.example/' }],
  ['webhook', webhook],
  ['segment', segment]
]

for (const [script, settings] of accepted) {
  test(`${script} takes ${JSON.stringify(settings)}`, async (t) => {
    const { code, said } = await check(t, script, settings)
    assert.equal(code, 0, said)
  })
}

// script, what is changed in its good settings, where the problem is, a word of what is said
const refused = [
  ['everflow', { apiKey: undefined }, 'apiKey', 'required'],
  ['everflow', { apiKey: '' }, 'apiKey', 'required'],
  ['everflow', { eventMapping: undefined }, 'eventMapping', 'required'],
  ['everflow', { eventMapping: {} }, 'eventMapping', 'at least one event'],
  ['everflow', { eventMapping: { Purchase: 'sale' } }, 'eventMapping', 'digits'],
  ['everflow', { eventMapping: { Purchase: '-1' } }, 'eventMapping', 'digits'],
  ['everflow', { eventMapping: { Purchase: '24', ' Purchase': '25' } }, 'eventMapping', 'two ids'],
  ['everflow', { postbackUrl: undefined }, 'postbackUrl', 'required'],
  ['everflow', { postbackUrl: 'https://track.example.com/' }, 'postbackUrl', 'nid'],
  ['everflow', { postbackUrl: 'https://track.example.com/?nid={nid}' }, 'postbackUrl', 'nid'],
  ['everflow', { postbackUrl: 'https://track.example.com/?nid=1&verification_token=t' }, 'postbackUrl', 'verificationToken'],
  ['everflow', { postbackUrl: 'http://track.example.com/?nid=1' }, 'postbackUrl', 'https'],
  ['everflow', { postbackUrl: undefined, trackingDomain: 'track.example.com' }, 'networkId', 'required'],
  ['everflow', { ipParam: 'a&b' }, 'ipParam', 'query field'],
  ['everflow', { mode: 'sideways' }, 'mode', 'direct forward'],
  ['everflow', { mode: 'forward' }, 'endpoint', 'required'],
  ['everflow', { eventMaping: {} }, '', 'eventMapping'],
  ['impact', { accountSid: undefined }, 'accountSid', 'required'],
  ['impact', { apiKey: undefined }, 'apiKey', 'required'],
  ['impact', { campaignId: undefined }, 'campaignId', 'required'],
  ['impact', { mode: 'forward' }, 'endpoint', 'required'],
  ['impact', { emailHash: 'md5' }, 'emailHash', 'sha256'],
  ['impact', { enablePageEvents: 'maybe' }, 'enablePageEvents', 'true or false'],
  ['impact', { customParameterMapping: { Text1: '' } }, 'customParameterMapping', 'both sides'],
  ['impact', { actionEventNames: { a: 'b' } }, 'actionEventNames', 'list'],
  ['refersion', { apiKey: undefined }, 'apiKey', 'required'],
  ['refersion', { apiKey: 'public' }, 'apiKey', 'publickey.secretkey'],
  ['refersion', { apiKey: 'public.' }, 'apiKey', 'both keys'],
  ['refersion', { apiKey: 'pub\r\nlic.secret' }, 'apiKey', 'control character'],
  ['refersion', { affiliateStatus: 'active' }, 'affiliateStatus', 'ACTIVE'],
  ['refersion', { deleteAction: 'remove' }, 'deleteAction', 'disable deny none'],
  ['refersion', { sendWelcome: 'TRUE?' }, 'sendWelcome', 'true or false'],
  ['refersion', { mode: 'forward' }, 'endpoint', 'required'],
  ['extole', { apiKey: undefined }, 'apiKey', 'required'],
  ['extole', { apiKey: 'to ken' }, 'apiKey', 'blank or a control character'],
  ['extole', { eventMapping: { 'Order Completed': '' } }, 'eventMapping', 'needs the name'],
  ['extole', { publicParameters: 'both' }, 'publicParameters', 'event profile'],
  ['extole', { forwardAuth: 'digest' }, 'forwardAuth', 'basic bearer'],
  ['extole', { mode: 'forward' }, 'endpoint', 'required'],
  ['emarsys', { mode: undefined }, 'apiKey', 'required when mode is "forward"'],
  ['emarsys', { mode: undefined, apiKey: 'key' }, 'endpoint', 'required'],
  ['emarsys', { apiUser: undefined }, 'apiUser', 'required when mode is "direct" and apiVersion is "v2"'],
  ['emarsys', { apiSecret: undefined }, 'apiSecret', 'required'],
  ['emarsys', { apiUser: 'a"b' }, 'apiUser', 'quote'],
  ['emarsys', { ...v3, tokenUrl: undefined }, 'tokenUrl', 'apiVersion is "v3"'],
  ['emarsys', { ...v3, clientId: undefined }, 'clientId', 'required'],
  ['emarsys', { ...v3, clientSecret: undefined }, 'clientSecret', 'required'],
  ['emarsys', { apiVersion: 'v4' }, 'apiVersion', 'v2 v3'],
  ['emarsys', { keyField: 'email' }, 'keyField', 'number of a field'],
  ['emarsys', { contactListId: 'all' }, 'contactListId', 'a number is wanted'],
  ['emarsys', { userIdField: '0' }, 'userIdField', 'a number is wanted'],
  ['emarsys', { anonymousIdField: 'x' }, 'anonymousIdField', 'a number is wanted'],
  ['emarsys', { fieldMapping: { email: 'traits.email' } }, 'fieldMapping', 'number of a field'],
  ['emarsys', { fieldMapping: { 3: '' } }, 'fieldMapping', 'a place in the event'],
  ['emarsys', { eventMapping: { Sale: 'sale' } }, 'eventMapping', 'number of an external event'],
  ['emarsys', { batchSize: 1001 }, 'batchSize', '1000 at most'],
  ['webhook', { url: undefined }, 'url', 'required'],
  ['webhook', { batchSize: 0 }, 'batchSize', '1 at least'],
  ['webhook', { batchSize: 1.5 }, 'batchSize', 'whole number'],
  ['webhook', { headers: { 'X Y': 'a' } }, 'headers', 'not a header name'],
  ['webhook', { headers: { 'content-length': '5' } }, 'headers', 'by the relay itself'],
  ['webhook', { headers: { 'X-Team': 'a\r\nX-Other: b' } }, 'headers', 'control characters'],
  ['segment', { endpoint: undefined }, 'endpoint', 'required'],
  ['segment', { writeKey: '' }, 'writeKey', 'required'],
  ['segment', { batchSize: 2501 }, 'batchSize', '2500 at most'],
  ['segment', { gzip: 'sometimes' }, 'gzip', 'true or false']
]

for (const [script, change, where, word] of refused) {
  test(`${script} refuses ${JSON.stringify(change)}`, async (t) => {
    const { code, said } = await check(t, script, { ...{ everflow, refersion, extole, impact, emarsys, webhook, segment }[script], ...change })
    assert.notEqual(code, 0, said)
    const path = ['destinations.d.settings', where].filter(Boolean).join('.')
    const line = said.split('\n').find((l) => l.includes(path) && l.includes(word))
    assert.ok(line, `no line with ${path} and "${word}" in:\n${said}`)
  })
}
