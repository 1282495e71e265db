// Dead letters go to their partner again, through the script as it is then.

import assert from 'node:assert/strict'
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import test from 'node:test'

import { Partner } from './lib/partner.mjs'
import { folder, Relay } from './lib/relay.mjs'
import { accepted, track } from './lib/sender.mjs'
import { until } from './lib/wait.mjs'

const SECRET = 'shared-secret-value'

// A partner that wants `sku`, and its script, which says `product` until somebody corrects it.
function writeScript(dir, field) {
  mkdirSync(join(dir, 'shop'), { recursive: true })
  writeFileSync(join(dir, 'shop', 'init.lua'), `
local tidegate = require "tidegate"
return {
  name = "Shop",
  settings = { url = { type = "url", required = true }, token = { type = "string", secret = true } },
  on = {
    track = function(event, settings)
      tidegate.deliver { method = "POST", url = settings.url, query = { token = settings.token },
        json = { ${field} = event.properties.sku, total = event.properties.total, id = event.messageId } }
    end,
  },
}
`)
}

async function shop(t) {
  const partner = await Partner.start(t, {
    answer: (r) => (JSON.parse(r.body).sku ? { status: 200 } : { status: 400, body: 'sku is missing' }),
  })
  const scripts = folder(t)
  writeScript(scripts, 'product')
  const relay = await new Relay(t, {
    scripts: [scripts],
    destinations: {
      shop: { settings: { url: `${partner.url}/in`, token: SECRET }, retry: { first: '50ms', max: '300ms' } },
    },
  }).start()
  return { partner, relay, scripts }
}

function deadLetters(relay, n, ...filters) {
  return until(`${n} dead letters`, async () => {
    const found = await relay.dead(...filters)
    if (found.length === n) return found
    throw new Error(`${found.length}`)
  })
}

const sale = (id, more) => track('Sale', { messageId: id, properties: { sku: `sku-${id}`, total: 76.5 }, ...more })

// The main story: a script's mistake, the correction, a look at what would be sent, and the replay.
test('through the corrected script', async (t) => {
  const { partner, relay, scripts } = await shop(t)
  await accepted(relay, [sale('m-1'), sale('m-2')])
  await deadLetters(relay, 2, '--dest', 'shop', '--reason', 'http_400')
  writeScript(scripts, 'sku')
  const before = partner.requests.length
  const dry = await relay.command('dead', 'replay', '--message-id', 'm-1', '--dry-run')
  assert.equal(dry.code, 0, dry.stderr)
  assert.match(dry.stdout, /^dead letter \d+: shop, m-1, was http_400, now deliver$/m)
  assert.match(dry.stdout, /^- json product = "sku-m-1"$/m)
  assert.match(dry.stdout, /^\+ json sku = "sku-m-1"$/m)
  assert.match(dry.stdout, /^ {2}json total = 76.5$/m)
  assert.match(dry.stdout, /^ {2}query token = \*\*\*$/m)
  assert.match(dry.stdout, /^1 dead letter would be replayed: 1 differs; nothing was sent$/m)
  assert.ok(!dry.stdout.includes(SECRET))
  const json = await relay.command('dead', 'replay', '--message-id', 'm-1', '--dry-run', '--json')
  const shown = JSON.parse(json.stdout)
  assert.deepEqual([shown.destination, shown.messageId, shown.outcome, shown.requests[0].json],
    ['shop', 'm-1', 'deliver', { sku: 'sku-m-1', total: 76.5, id: 'm-1' }])
  assert.ok(shown.diff.includes('+ json sku = "sku-m-1"'))
  assert.equal(partner.requests.length, before, 'nothing is sent by a trial')
  assert.equal((await relay.dead()).length, 2, 'nor does a letter go')

  assert.match(dry.stderr, /changed since the relay took them: tidegate reload first/)
  assert.equal((await relay.command('reload')).code, 0)
  assert.equal((await relay.command('dead', 'replay', '--all', '--dry-run')).stderr, '', 'the relay has what the trial takes')
  const replayed = await relay.command('dead', 'replay', '--dest', 'shop')
  assert.deepEqual([replayed.code, replayed.stdout, replayed.stderr], [0, 'replayed 2 dead letters: due now\n', ''])
  await partner.arrived(2, { filter: (r) => JSON.parse(r.body).sku })
  assert.deepEqual(partner.requests.slice(before).map((r) => JSON.parse(r.body).id).sort(), ['m-1', 'm-2'])
  assert.deepEqual(await relay.dead(), [])
  await until('nothing waits', async () => (await relay.destination('shop')).retries === 0)
})

// A script that fetches a token, by oauth2 or by itself: a trial makes one up, so that the event's own request is compared;
// --responses says what the partner answers instead. In a batch it is the request of this event alone.
test('a trial of a script that fetches tokens', async (t) => {
  const token = { status: 200, body: '{"access_token":"real-token","expires_in":3600}' }
  const partner = await Partner.start(t, { answer: (r) => (r.url === '/token' ? token : { status: 400, body: 'no' }) })
  const dir = join(folder(t), 'scripts')
  const write = (body) => {
    mkdirSync(join(dir, 'crm'), { recursive: true })
    writeFileSync(join(dir, 'crm/init.lua'), `local tidegate = require "tidegate"
      local function token(settings)
        if settings.own then
          local answer = tidegate.deliver({ url = settings.url .. "/token", repeatable = true, form = { grant = "x" } }):wait()
          return tidegate.json.decode(answer.body).access_token
        end
        return tidegate.oauth2 { token_url = settings.url .. "/token", client_id = "id", client_secret = "secret" }
      end
      return { name = "Crm", settings = { url = { type = "url", required = true }, own = { type = "boolean" } },
        batches = { calls = { max_items = 10, max_wait_ms = 20, join = function(items)
          local lines = {}
          for i = 1, #items do lines[i] = tidegate.json.encode(items[i]) .. "\\n" end
          return { body = table.concat(lines) }
        end } },
        on = { track = function(event, settings)
          tidegate.deliver { url = settings.url .. "/in", batch = "calls", headers = { Authorization = "Bearer " .. token(settings) },
            item = ${body} }
        end } }`)
  }
  write('{ id = event.messageId, verb = "buy" }')
  const relay = await new Relay(t, {
    workers: 1, scripts: [dir],
    destinations: { one: { script: 'crm', settings: { url: partner.url } }, two: { script: 'crm', settings: { url: partner.url, own: true } } },
  }).start()
  await accepted(relay, [sale('m-1'), sale('m-2')])
  await deadLetters(relay, 4, '--reason', 'http_400')
  const look = async (...args) => {
    const { code, stdout, stderr } = await relay.command('dead', 'replay', '--message-id', 'm-2', '--dry-run', ...args)
    assert.equal(code, 0, stderr)
    return stdout
  }
  const changes = (text) => text.split('\n').filter((line) => /^[-+]/.test(line))
  const same = await look()
  const unchanged = /was http_400, unchanged: the same request as was refused \(what is shown as \*\*\* is not compared\)$/mg
  assert.equal(same.match(unchanged).length, 2, same)
  assert.match(same, /^2 dead letters would be replayed: 2 are the same as before; nothing was sent$/m)
  assert.deepEqual(changes(same), [], same)
  assert.match(same, /^ {2}json verb = "buy"$/m)
  assert.equal(same.match(/^ {2}and POST http:\S+\/token$/mg).length, 2, same)
  write('{ id = event.messageId, verb = "bought" }')
  for (const line of (await look('--json')).trim().split('\n').map((text) => JSON.parse(text))) {
    assert.deepEqual(changes(line.diff.join('\n')), ['- json verb = "buy"', '+ json verb = "bought"'], line.diff.join('\n'))
  }
  const file = join(dir, 'responses.json')
  writeFileSync(file, JSON.stringify([{ status: 503 }]))
  assert.equal((await look('--responses', file)).match(/now retry: http_503/g).length, 2)
  const wrong = await relay.command('dead', 'replay', '--all', '--responses', file)
  assert.deepEqual([wrong.code, /--responses goes with --dry-run/.test(wrong.stderr)], [2, true])
})

// Filters choose; what fails again is a dead letter again, one and not two.
test('filters, and failing again', async (t) => {
  const { partner, relay } = await shop(t)
  await accepted(relay, [sale('m-1'), sale('m-2'), { ...sale('m-3'), event: 'Other' }])
  const letters = await deadLetters(relay, 3)
  const none = await relay.command('dead', 'replay', '--event', 'Nothing')
  assert.deepEqual([none.code, none.stdout], [0, 'replayed 0 dead letters\n'])
  assert.equal((await relay.command('dead', 'replay')).code, 2, 'not without saying which')
  const before = partner.requests.length
  assert.match((await relay.command('dead', 'replay', '--event', 'Other')).stdout, /^replayed 1 dead letter:/)
  await partner.arrived(before + 1)
  const [again] = await until('it is dead again', async () => {
    const found = await relay.dead('--message-id', 'm-3')
    return found.length && found
  })
  assert.equal(again.attempts, 1)
  assert.ok(!letters.some((l) => l.id === again.id))
  assert.equal((await relay.dead()).length, 3)
})

// Without a running relay the letters wait in the retry set and go out at the next start, also after SIGKILL.
test('while the relay is down', async (t) => {
  const { partner, relay, scripts } = await shop(t)
  await accepted(relay, [sale('m-1'), sale('m-2')])
  const [first] = await deadLetters(relay, 2)
  await relay.restart() // what is dead is settled on disk then: else the log would bring it again after the kill
  await relay.killAll()
  writeScript(scripts, 'sku')
  const one = await relay.command('dead', 'replay', String(first.id), '999')
  assert.equal(one.code, 1)
  assert.match(one.stderr, /there is no dead letter 999/)
  assert.equal(one.stdout, 'replayed 1 dead letter: due when the relay runs\n')
  await relay.start()
  const [request] = await partner.arrived(1, { filter: (r) => JSON.parse(r.body).sku })
  assert.equal(JSON.parse(request.body).id, first.messageId)
  assert.equal((await relay.dead()).length, 1)
})

// A message id that ingest remembers is no hindrance, and is the same at the partner.
test('duplicates are not looked for', async (t) => {
  const { partner, relay, scripts } = await shop(t)
  await accepted(relay, [sale('m-1')])
  await deadLetters(relay, 1)
  await accepted(relay, [sale('m-1')])
  writeScript(scripts, 'sku')
  assert.equal((await relay.command('reload')).code, 0)
  assert.equal((await relay.command('dead', 'replay', '--all')).code, 0)
  await partner.arrived(1, { filter: (r) => JSON.parse(r.body).sku === 'sku-m-1' && JSON.parse(r.body).id === 'm-1' })
})

// What ingest set aside belongs to no destination; nor can a letter go to a destination that is not configured.
test('what cannot be replayed is said', async (t) => {
  const { relay } = await shop(t)
  await accepted(relay, [sale('m-1'), { type: 'nonsense', messageId: 'm-2' }])
  await deadLetters(relay, 2)
  relay.config.destinations = { other: relay.config.destinations.shop }
  relay.config.destinations.other.script = 'shop'
  relay.write()
  const all = await relay.command('dead', 'replay', '--all')
  assert.deepEqual([all.code, all.stdout], [1, 'replayed 0 dead letters\n'])
  assert.match(all.stderr, /1 left alone: ingest set them aside.*dead show.*tidegate send/)
  assert.match(all.stderr, /1 left alone: their destinations are not in the configuration/)
  const dry = await relay.command('dead', 'replay', '--all', '--dry-run')
  assert.equal(dry.code, 1)
  assert.match(dry.stderr, /destination shop is not in the configuration/)
  assert.equal((await relay.dead()).length, 2)
})
