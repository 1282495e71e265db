// Configuration: what is wrong is said, all of it and where; what is right is swapped in without losing an event.

import assert from 'node:assert/strict'
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import test from 'node:test'

import { Partner } from './lib/partner.mjs'
import { command, folder, Relay, WRITE_KEY } from './lib/relay.mjs'
import { accepted, keepAlive, send, track } from './lib/sender.mjs'
import { SLOWNESS, until } from './lib/wait.mjs'

function hook(partner, more = {}) {
  return { script: 'webhook', settings: { url: `${partner.url}/in`, ...more } }
}

// A sanitizer's own memory (what was freed is kept for a while) is not ours to judge.
// Nor is what all processes share: messageIds touch more of it the more events a quick machine takes.
function residentKiB(pid) {
  if (SLOWNESS > 1) return 0
  return Number(/RssAnon:\s+(\d+) kB/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))[1])
}

function check(dir, text, env) {
  const file = join(dir, 'tidegate.lua')
  writeFileSync(file, text)
  return command(['check', '-c', file], { cwd: dir, env })
}

// Everything that is wrong is reported at once, with the path of each.
test('check reports every error', async (t) => {
  const { code, stdout, stderr } = await check(folder(t), `return {
    listen = { "nonsense" },
    admin = "0.0.0.0:9080",
    workers = 1000,
    spool = { path = "./spool", max_bytes = "much", sync = "sometimes" },
    limits = { body = "1", unknown = 1 },
    logs = {},
    sources = { { name = "a", write_key = "k" }, { name = "b", write_key = "k" }, { name = "c" }, { write_key = "x" } },
    destinations = {
      impact = { settings = { accountSid = "s", apiKey = 5, enablePageEvents = "yes" }, sources = { "nobody" } },
      everflow = { settings = { apiKey = "k", postbackUrl = "https://track.example/?nid=1", eventMapping = { A = "x" } } },
      nothing = { settings = {} },
      hook = { script = "webhook", settings = { url = "ftp://example.com", colour = "red" }, retry = { first = "1h", max = "1s" } },
    },
  }`)
  assert.equal(code, 1)
  assert.equal(stdout, '')
  const wanted = [
    'listen', 'admin_token', 'workers', 'spool.max_bytes', 'spool.sync', 'limits.body', 'limits.unknown', 'logs',
    'sources[2]', 'sources[3]', 'sources[4]', 'destinations.impact.sources[1]', 'destinations.hook.retry.first',
    'destinations.impact.settings.campaignId: required', 'destinations.everflow.settings.eventMapping',
    'destinations.nothing.script', 'destinations.hook.settings.url', 'destinations.hook.settings.colour: unknown key',
  ]
  for (const path of wanted) assert.ok(stderr.includes(path), `${path} is not in\n${stderr}`)
  assert.match(stderr, /logs: unknown option; did you mean 'log'\?/)
})

// What only a worker would find out, at each of its starts, is refused before: a relay that reloads it would be down.
test('check refuses what workers could not start with', async (t) => {
  const { code, stderr } = await check(folder(t), `return {
    listen = { { addr = "127.0.0.1:0", cert = "no.crt", key = "no.key" } },
    egress = { allow_private = { "10.0.0.0/33" }, ca_file = "no.pem" },
    sources = { { name = "a", write_key = "k", trusted_proxies = { "10.0.0.0/8", "proxy" } } },
    destinations = { impact = {
      settings = { accountSid = "s", apiKey = "k", campaignId = "1" }, rates = { calls = { per_second = 1 } } } },
  }`)
  assert.equal(code, 1)
  for (const wanted of [/^listen\[1\]: certificate .*no\.crt: No such file/m, /^egress\.allow_private\[1\]: /m,
    /^egress\.ca_file: .*no\.pem: No such file/m, /^sources\[1\]\.trusted_proxies\[2\]: "proxy"/m,
    /^destinations\.impact\.rates\.calls: the script has no rate of this name; it has: account$/m]) assert.match(stderr, wanted)
})

// Each variable that is missing is told with its line, besides everything else; what it stands for is not judged.
test('check names every missing variable', async (t) => {
  const { code, stderr } = await check(folder(t), `return {
    sources = { { name = "a", write_key = env("TG_E2E_NO_KEY") } },
    destinations = {
      impact = { settings = { accountSid = env("TG_E2E_NO_SID"), apiKey = "k" } },
      hook = { script = "webhook", settings = { url = env("TG_E2E_NO_URL"), batchSize = env("TG_E2E_NO_SIZE") } },
    },
  }`)
  assert.equal(code, 1)
  const lines = stderr.trimEnd().split('\n')
  assert.deepEqual(lines.map((l) => l.replace(/^.*tidegate\.lua:/, '').replace(/: the env.*/, '')), [
    '2: env("TG_E2E_NO_KEY")', '4: env("TG_E2E_NO_SID")', '5: env("TG_E2E_NO_URL")', '5: env("TG_E2E_NO_SIZE")',
    'destinations.impact.settings.campaignId: required'])
})

// Settings are checked against each script.
test('check reports every wrong setting', async (t) => {
  const { code, stderr } = await check(folder(t), `return {
    sources = { { name = "a", write_key = "k" } },
    destinations = {
      impact_uk = { script = "impact", settings = { accountSid = "s", apiKey = {}, enablePageEvents = "yes" } },
      everflow = { settings = { apiKey = "k", postbackUrl = "https://track.example/?nid=1", eventMapping = { A = "x" } } },
      nothing = { settings = {} },
      hook = { script = "webhook", settings = { url = "ftp://example.com", colour = "red" } },
    },
  }`)
  assert.equal(code, 1)
  for (const path of ['destinations.impact_uk.settings.campaignId: required', 'destinations.impact_uk.settings.apiKey',
    'destinations.impact_uk.settings.enablePageEvents', 'destinations.everflow.settings.eventMapping',
    'destinations.nothing', 'destinations.hook.settings.url', 'destinations.hook.settings.colour: unknown key']) {
    assert.ok(stderr.includes(path), `${path} is not in\n${stderr}`)
  }
})

// A file that is no Lua, ends in an error or in a loop is refused with its line.
test('check and broken files', async (t) => {
  const dir = folder(t)
  for (const [text, wanted] of [
    ['return {', /tidegate\.lua:1: /],
    ['\n\nlocal x = nothing.at.all', /tidegate\.lua:3: .*nothing/],
    ['return 5', /must return a table/],
    ['while true do end', /too long/],
    ['return { sources = { { name = "a", write_key = os.getenv("HOME") } } }', /tidegate\.lua:1: .*os/],
  ]) {
    const { code, stderr } = await check(dir, text)
    assert.equal(code, 1, text)
    assert.match(stderr, wanted)
  }
  const missing = await command(['check', '-c', join(dir, 'nowhere.lua')])
  assert.equal(missing.code, 1)
  assert.match(missing.stderr, /config --example.*nowhere\.lua: No such file/s)
})

// The example that the program prints is a good configuration.
test('config --example loads', async (t) => {
  const dir = folder(t)
  const { code, stdout } = await command(['config', '--example'])
  assert.equal(code, 0)
  const checked = await check(dir, stdout)
  assert.deepEqual([checked.code, checked.stderr], [0, ''])
  for (const option of ['listen', 'max_bytes', 'allow_private', 'trusted_proxies', 'on_full']) assert.ok(stdout.includes(option))
})

// env() without a default is an error when the variable is not set; file() reads beside the configuration.
test('env and file', async (t) => {
  const dir = folder(t)
  const text = `return {
    sources = { { name = "a", write_key = env("E2E_KEY") }, { name = "b", write_key = env("E2E_OTHER", "other") } },
    destinations = { hook = { script = "webhook", settings = { url = "https://hook.example/", sharedSecret = file("secret.txt") } } },
  }`
  const unset = await check(dir, text)
  assert.equal(unset.code, 1)
  assert.match(unset.stderr, /tidegate\.lua:2: env\("E2E_KEY"\): the environment variable is not set/)
  const noFile = await check(dir, text, { E2E_KEY: 'key' })
  assert.equal(noFile.code, 1)
  assert.match(noFile.stderr, /secret\.txt/)
  writeFileSync(join(dir, 'secret.txt'), 'the secret\n')
  const good = await check(dir, text, { E2E_KEY: 'key' })
  assert.deepEqual([good.code, good.stderr], [0, ''])
  assert.match(good.stdout, /good: 2 sources, 1 destination, [1-9]\d* fixtures passed\n/)
})

// One spool belongs to one relay.
test('a second relay on the same spool', async (t) => {
  const relay = await new Relay(t).start()
  const second = await command(['run', '-c', relay.file])
  assert.equal(second.code, 1)
  assert.match(second.stderr, /spool/)
  assert.match(second.stderr, /another|in use|locked|running|runs/)
  assert.equal((await send(relay, '/v1/track', { body: track('E') })).status, 200)
})

// A port that is taken, a spool that cannot be: the start is refused with the reason.
test('starts that cannot be', async (t) => {
  const partner = await Partner.start(t)
  const taken = new Relay(t, { listen: [`127.0.0.1:${partner.port}`] })
  taken.write()
  const port = await taken.command('run')
  assert.equal(port.code, 1)
  assert.match(port.stderr, new RegExp(`127\\.0\\.0\\.1:${partner.port}.*(in use|Address)`))
  const noSpool = new Relay(t, { spool: { path: '/proc/nowhere' } })
  noSpool.write()
  const spool = await noSpool.command('run')
  assert.equal(spool.code, 1)
  assert.match(spool.stderr, /\/proc\/nowhere/)
})

// Reload swaps in a new destination and new keys between events; what was there goes on.
test('reload', async (t) => {
  const [one, two] = [await Partner.start(t), await Partner.start(t)]
  const relay = await new Relay(t, { destinations: { one: hook(one) } }).start()
  await accepted(relay, [track('E', { messageId: 'first' })])
  await one.arrived(1)
  relay.config.destinations.two = hook(two)
  relay.config.sources.push({ name: 'app', write_key: 'app-key' })
  relay.write()
  const reloaded = await relay.command('reload')
  assert.deepEqual([reloaded.code, reloaded.stderr], [0, ''])
  assert.equal(await relay.metric('tidegate_config_generation'), 2)
  await accepted(relay, [track('E', { messageId: 'second' })], { key: 'app-key' })
  await one.arrived(2)
  await two.arrived(1)
  assert.deepEqual(two.messageIds(), ['second'], 'a new destination begins at the next event')
  assert.equal((await relay.status()).workers.reduce((n, w) => n + w.restarts, 0), 0)
})

// A bad configuration is refused with its reasons, by command and by SIGHUP, and the old one runs on.
test('a bad reload changes nothing', async (t) => {
  const one = await Partner.start(t)
  const relay = await new Relay(t, { destinations: { one: hook(one) } }).start()
  const good = structuredClone(relay.config)
  relay.config.destinations.one.settings.url = 'nonsense'
  relay.config.limits = { body: 'big' }
  relay.write()
  const refused = await relay.command('reload')
  assert.equal(refused.code, 1)
  assert.match(refused.stderr, /limits\.body/)
  assert.match(refused.stderr, /the running relay goes on with the configuration that it has/)
  const refusals = (n) => relay.says('reload refused, the old configuration goes on', { n })
  assert.equal((await refusals(1)).length, 1)
  writeFileSync(relay.file, `${readFileSync(relay.file)} return {{`)
  const unreadable = await relay.command('reload')
  assert.equal(unreadable.code, 1)
  assert.match(unreadable.stderr, /expected near/)
  assert.equal((await refusals(2)).length, 2)
  relay.config.limits = {}
  relay.write()
  const again = await relay.command('reload')
  assert.equal(again.code, 1)
  assert.match(again.stderr, /destinations\.one\.settings\.url/)
  relay.signal('SIGHUP')
  assert.equal((await refusals(4)).length, 4)
  await accepted(relay, [track('E')])
  await one.arrived(1)
  assert.equal(await relay.metric('tidegate_reload_failures_total'), 4)
  assert.equal(await relay.metric('tidegate_config_generation'), 1)
  relay.config = good
  relay.write()
  assert.equal((await relay.command('reload')).code, 0)
})

// A ceiling above what the disk holds is told at the start, once; one that it holds is not.
test('a ceiling that the disk does not hold', async (t) => {
  const about = 'spool.max_bytes is more than the whole disk: lower it, so that quotas count before it is full'
  const relay = await new Relay(t, { workers: 2, spool: { max_bytes: '900TiB' } }).start()
  const [line, ...more] = relay.lines(about)
  assert.equal(more.length, 0)
  assert.equal(Number(line.max_bytes), 900 * 2 ** 40)
  assert.ok(Number(line.disk_bytes) > 0)
  relay.config.spool.max_bytes = '64MiB'
  await relay.restart()
  assert.equal(relay.lines(about).length, 0)
})

// Reload says what needs a restart.
test('what a reload cannot change', async (t) => {
  const relay = await new Relay(t).start()
  relay.config.workers = 3
  relay.config.listen = ['127.0.0.1:1']
  relay.write()
  const { code, stdout } = await relay.command('reload')
  assert.equal(code, 0)
  assert.equal(stdout, 'reloaded\nlisten has changed: this needs a restart\nworkers has changed: this needs a restart\n')
  assert.match((await relay.says('some changes need a restart'))[0].which, /restart$/)
  assert.equal((await send(relay, '/v1/track', { body: track('E') })).status, 200)
})

// Everything else counts from the reload on: where destinations may be (on kept connections too), quotas, the log, the
// admin token.
test('what a reload changes beside sources and destinations', async (t) => {
  const partner = await Partner.start(t)
  const relay = await new Relay(t, {
    admin_token: 'old', destinations: { one: { ...hook(partner), retry: { first: '50ms', max: '300ms' } } },
  }).start()
  const asked = async (word) => (await relay.admin('/status', { authorization: `Bearer ${word}` })).status
  assert.equal(await asked('old'), 200)
  for (let i = 0; i < 6; i++) await accepted(relay, [track('E')])
  await partner.arrived(6)
  Object.assign(relay.config, { egress: { allow_private: ['10.0.0.0/8'] }, log: { level: 'warn', json: true }, admin_token: 'new' })
  relay.config.spool = { ...relay.config.spool, max_bytes: '128MiB' }
  relay.write()
  assert.equal((await relay.command('reload')).stdout, 'reloaded\n')
  for (let i = 0; i < 4; i++) await accepted(relay, [track('E')]) // a fifth failure at one worker would open the breaker
  await until('all are refused', async () => (await relay.destination('one')).retries === 4)
  assert.equal(partner.requests.length, 6)
  assert.equal(await asked('old'), 401)
  assert.equal(await asked('new'), 200)
  await until('the quota has grown', async () => {
    const d = await relay.destination('one')
    return d.backlog_free_bytes + d.retry_bytes + d.backlog_bytes === 64 * 1024 * 1024
  })
  const [told] = await relay.says('delivery failed: it is tried again')
  assert.match(told.error, /egress\.allow_private does not list it/)
  assert.ok(relay.log.includes('{"time":'), 'from then on as JSON')
  relay.config.egress = { allow_private: true }
  relay.write()
  assert.equal((await relay.command('reload')).code, 0)
  await partner.arrived(10)
})

// It stays as it was for workers that are started again too: they take over the sockets and the spool that are there.
test('a worker that is started after such a reload', async (t) => {
  const partner = await Partner.start(t)
  const relay = await new Relay(t, { workers: 1, admin_token: 'secret', destinations: { one: hook(partner) } }).start()
  relay.config.listen = ['127.0.0.1:1', '127.0.0.1:2', '127.0.0.1:3']
  relay.config.spool.path = './another'
  relay.config.admin = 'off'
  delete relay.config.admin_token
  relay.write()
  const ask = (...args) => command([...args, '--spool', join(relay.dir, 'spool')], { cwd: relay.dir })
  const worker = async () => JSON.parse((await ask('status', '--json')).stdout).workers[0]
  const { code, stdout } = await ask('reload')
  assert.deepEqual([code, stdout.match(/needs a restart/g)?.length], [0, 3])
  const { pid } = await worker()
  process.kill(pid, 'SIGKILL')
  await until('the worker is up again', async () => (await worker()).pid !== pid && (await worker()).up)
  await accepted(relay, [track('E')])
  await partner.arrived(1)
  assert.ok(!existsSync(join(relay.dir, 'another')))
  await until('the admin listener asks for the token', async () => (await relay.admin('/metrics')).status === 401)
})

// What a reload cannot change is the same for a worker that starts later: with dedup switched off meanwhile it still knows its siblings' messageIds.
test('what a restart waits for holds for later workers too', async (t) => {
  const partner = await Partner.start(t)
  const relay = await new Relay(t, { workers: 1, destinations: { one: hook(partner) } }).start()
  const [id] = await accepted(relay, [track('E')])
  await partner.arrived(1)
  relay.config.dedup = { window: 0 }
  relay.config.spool.sync = 'none'
  relay.write()
  const { code, stdout } = await relay.command('reload')
  assert.deepEqual([code, stdout.match(/^(\S+) has changed: this needs a restart$/gm)?.length], [0, 2], stdout)
  const [pid] = await relay.workerPids()
  process.kill(pid, 'SIGKILL')
  await until('the worker is up again', async () => {
    const { workers } = await relay.status()
    return workers[0].pid !== pid && workers[0].up
  })
  await accepted(relay, [track('E', { messageId: id }), track('Last')])
  await until('the last one arrives', () => partner.requests.some((r) => /Last/.test(r.body)))
  assert.equal(await relay.metric('tidegate_events_duplicate_total', { source: 'web' }), 1)
})

// So does one that is started while the others are still about to take over the new configuration: it begins with that.
test('a worker that is started during a reload', async (t) => {
  const relay = await new Relay(t, { hang_limit: '1h' }).start() // however long the first one has to stand still
  const [first, second] = await relay.workerPids()
  process.kill(first, 'SIGSTOP')
  const reloading = relay.command('reload')
  const generations = async () => (await relay.status()).workers.map((w) => w.up && w.generation)
  try {
    await until('the other one has it', async () => (await generations())[1] === 2)
    process.kill(second, 'SIGKILL')
    await until('it is up again', async () => (await relay.workerPids()).some((p) => p !== first && p !== second))
  } finally {
    process.kill(first, 'SIGCONT')
  }
  assert.equal((await reloading).code, 0)
  await until('all have it', async () => (await generations()).join() === '2,2')
})

// Under load, reloads lose nothing and repeat nothing.
test('reloads under load', async (t) => {
  const one = await Partner.start(t)
  const relay = await new Relay(t, { destinations: { one: hook(one) } }).start()
  const ids = []
  let stop = false
  const load = (async () => {
    while (!stop) ids.push(...await accepted(relay, [track('E'), track('E')]))
  })()
  for (let i = 0; i < 5; i++) {
    relay.config.destinations.one.settings.headers = { 'X-Round': String(i) }
    relay.write()
    assert.equal((await relay.command('reload')).code, 0)
  }
  stop = true
  await load
  await until('all have come', () => new Set(one.messageIds()).size === ids.length)
  assert.equal(one.messageIds().length, ids.length)
})

// A fixed script applies to the backlog: mapping happens at delivery.
test('a changed script and what waits', async (t) => {
  const partner = await Partner.start(t)
  const relay = new Relay(t, { scripts: ['./scripts'], destinations: { mine: { settings: { url: partner.url } } } })
  const script = (path) => {
    mkdirSync(join(relay.dir, 'scripts/mine'), { recursive: true })
    writeFileSync(join(relay.dir, 'scripts/mine/init.lua'), `local tidegate = require "tidegate"
      return { name = "Mine", settings = { url = { type = "url", required = true } }, hosts = {},
        on = { track = function(event, settings) tidegate.deliver { method = "GET", url = settings.url .. "${path}" } end } }`)
  }
  script('/old')
  await relay.start()
  assert.equal((await relay.command('pause', 'mine')).code, 0)
  await accepted(relay, [track('E')])
  script('/new')
  assert.equal((await relay.command('reload')).code, 0)
  assert.equal((await relay.command('resume', 'mine')).code, 0)
  const [request] = await partner.arrived(1)
  assert.equal(request.url, '/new')
  writeFileSync(join(relay.dir, 'scripts/mine/init.lua'), 'return {')
  const broken = await relay.command('reload')
  assert.equal(broken.code, 1)
  assert.match(broken.stderr, /init\.lua:1: /)
})

// A script that a reload would bring in must pass its own fixtures; the old one runs on until it does.
test('fixtures of changed scripts', async (t) => {
  const partner = await Partner.start(t)
  const relay = new Relay(t, { scripts: ['./scripts'], destinations: { mine: { settings: { url: partner.url } } } })
  const folderOfIt = join(relay.dir, 'scripts/mine')
  mkdirSync(join(folderOfIt, 'fixtures'), { recursive: true })
  const script = (path) => writeFileSync(join(folderOfIt, 'init.lua'), `local tidegate = require "tidegate"
    return { name = "Mine", settings = { url = { type = "url", required = true } },
      on = { track = function(event, settings) tidegate.deliver { method = "GET", url = settings.url .. "${path}" } end } }`)
  script('/one')
  writeFileSync(join(folderOfIt, 'fixtures/get.lua'), `return { name = "It gets", settings = { url = "https://example.com" },
    event = { type = "track", userId = "u", event = "E" }, expect = { requests = { { method = "GET", url = "https://example.com/one" } } } }`)
  await relay.start()
  script('/two')
  const why = /^requests\[1\]\.url: expected "https:\/\/example\.com\/one", got "https:\/\/example\.com\/two" \(fixture \S+\/mine\/fixtures\/get\.lua: It gets\)$/m
  for (const command of ['reload', 'check']) {
    const refused = await relay.command(command)
    assert.equal(refused.code, 1)
    assert.match(refused.stderr, why)
  }
  const unrun = await relay.command('check', '--no-fixtures')
  assert.deepEqual([unrun.code, /destination; fixtures were not run\n$/.test(unrun.stdout)], [0, true], unrun.stderr)
  await accepted(relay, [track('E')])
  assert.equal((await partner.arrived(1))[0].url, '/one')
  assert.equal(await relay.metric('tidegate_reload_failures_total'), 1)
  script('/one?again=1')
  writeFileSync(join(folderOfIt, 'fixtures/get.lua'), `return { settings = { url = "https://example.com" },
    event = { type = "track", userId = "u", event = "E" }, expect = { requests = { { method = "GET", url = "https://example.com/one", query = { again = "1" } } } } }`)
  const good = await relay.command('reload')
  assert.equal(good.code, 0, good.stderr)
  await accepted(relay, [track('E')])
  assert.equal((await partner.arrived(2))[1].url, '/one?again=1')
})

// The cause of a refused reload is told first, and once for all fixtures that have it; numbers go to accepted ones only; what
// scripts log in fixtures is marked.
test('why a reload is refused', async (t) => {
  const relay = new Relay(t, { scripts: ['./scripts'], destinations: { mine: { settings: { url: 'https://example.com' } } } })
  const folderOfIt = join(relay.dir, 'scripts/mine')
  mkdirSync(join(folderOfIt, 'fixtures'), { recursive: true })
  const script = (body, more = '') => writeFileSync(join(folderOfIt, 'init.lua'), `local tidegate = require "tidegate"
    return { name = "Mine", settings = { url = { type = "url", required = true }${more} },
      on = { track = function(event, settings)
        ${body}
        tidegate.deliver { method = "GET", url = settings.url } end } }`)
  for (const name of ['a', 'b', 'c']) {
    writeFileSync(join(folderOfIt, `fixtures/${name}.lua`), `return { settings = { url = "https://example.com" },
      event = { type = "track", userId = "u", event = "E" }, expect = { requests = { { method = "GET", url = "https://example.com" } } } }`)
  }
  script('')
  await relay.start()
  script('local path = event.properties.path.x')
  const raises = await relay.command('reload')
  assert.equal(raises.code, 1)
  assert.match(raises.stderr, /^it said: mine\/init\.lua:4: attempt to index[^\n]*\(fixture \S+a\.lua: a\.lua\) \(and 2 more fixtures\)\n/)
  relay.config.destinations.mine.settings.more = 'x'
  relay.write()
  script('', ', more = { type = "string", required = true }')
  const loads = await relay.command('reload')
  assert.match(loads.stderr, /^settings\.more: required[^\n]*\(fixture \S+a\.lua: a\.lua\) \(and 2 more fixtures\)\n/)
  assert.equal(loads.stderr.match(/settings\.more/g).length, 1)
  script('tidegate.log.info("from a fixture")', ', more = { type = "string" }')
  const good = await relay.command('reload')
  assert.equal(good.code, 0, good.stderr)
  assert.equal(JSON.parse((await relay.command('status', '--json')).stdout).generation, 2)
  const said = await until('it is logged by each fixture', () => {
    const lines = relay.log.split('\n').slice(0, -1).filter((line) => line.includes('from a fixture'))
    return lines.length >= 3 && lines
  })
  for (const line of said) assert.match(line, / worker=fixtures /)
  const once = await command(['test', '--scripts', join(relay.dir, 'scripts'), 'mine'])
  assert.equal(once.code, 0, once.stdout)
})

// reload_on_change: who writes a script sees it run without a command.
test('a change of a file reloads', async (t) => {
  const partner = await Partner.start(t)
  const relay = new Relay(t, { reload_on_change: true, scripts: ['./scripts'], destinations: { mine: { settings: { url: partner.url } } } })
  mkdirSync(join(relay.dir, 'scripts/mine'), { recursive: true })
  const script = (path) => writeFileSync(join(relay.dir, 'scripts/mine/init.lua'), `local tidegate = require "tidegate"
    return { name = "Mine", settings = { url = { type = "url", required = true } },
      on = { track = function(event, settings) tidegate.deliver { method = "GET", url = settings.url .. "${path}" } end } }`)
  script('/one')
  await relay.start()
  script('/two')
  await until('the script is reloaded', async () => await relay.metric('tidegate_reloads_total') === 1)
  await accepted(relay, [track('E')])
  assert.equal((await partner.arrived(1))[0].url, '/two')
  script('/thr" ..')
  await until('a broken one is refused', async () => await relay.metric('tidegate_reload_failures_total') === 1)
  relay.config.reload_on_change = false
  relay.config.destinations.mine.enabled = false
  script('/three')
  relay.write() // maybe two reloads, if this comes late
  await until('the configuration is reloaded', async () => (await relay.destination('mine')).state === 'disabled')
})

// A hundred reloads, each with another script, under load: no request of a sender fails, nothing is lost or sent twice, and
// memory does not grow with their number.
test('a hundred reloads under load', async (t) => {
  const partner = await Partner.start(t)
  const relay = new Relay(t, { scripts: ['./scripts'], destinations: { mine: { settings: { url: partner.url } }, hook: hook(partner) } })
  mkdirSync(join(relay.dir, 'scripts/mine'), { recursive: true })
  const script = (n) => writeFileSync(join(relay.dir, 'scripts/mine/init.lua'), `local tidegate = require "tidegate"
    return { name = "Mine", settings = { url = { type = "url", required = true } }, on = { track = function(event, settings)
      tidegate.deliver { url = settings.url .. "/mine/${n}", json = { messageId = event.messageId } } end } }`)
  script(0)
  await relay.start()
  const agent = keepAlive()
  t.after(() => agent.destroy())
  const ids = []
  let stop = false
  // A backlog would take memory too, the more the slower the machine: so few events wait at any time.
  const load = (async () => {
    while (!stop) {
      ids.push(...await accepted(relay, [track('E'), track('E')], { agent })) // throws on anything but 200
      await until('few wait', () => 2 * ids.length - partner.requests.length < 100, { seconds: 60 })
    }
  })()
  const memory = async () => (await relay.workerPids()).reduce((sum, pid) => sum + residentKiB(pid), 0)
  let early
  for (let i = 1; i <= 100; i++) {
    script(i)
    const { code, stderr } = await relay.command('reload')
    assert.equal(code, 0, stderr)
    if (i === 20) early = await memory()
  }
  const late = await memory()
  stop = true
  await load
  const own = () => partner.requests.filter((r) => r.path.startsWith('/mine/')).map((r) => JSON.parse(r.body).messageId)
  const hooked = () => partner.requests.filter((r) => r.path === '/in').map((r) => JSON.parse(r.body).messageId)
  await until('all have come', () => new Set(own()).size === ids.length && new Set(hooked()).size === ids.length, { seconds: 60 })
  assert.deepEqual([own().length, hooked().length], [ids.length, ids.length])
  assert.equal(await relay.metric('tidegate_config_generation'), 101)
  assert.ok(late < early + 8 * 1024, `resident memory of the workers: ${early} KiB after 20 reloads, ${late} KiB after 100`)
})

// enabled = false holds a destination's events back; they come when it is enabled again.
test('a disabled destination waits', async (t) => {
  const [one, two] = [await Partner.start(t), await Partner.start(t)]
  const relay = await new Relay(t, { destinations: { one: hook(one), two: hook(two) } }).start()
  relay.config.destinations.one.enabled = false
  relay.write()
  assert.equal((await relay.command('reload')).code, 0)
  await accepted(relay, [track('E', { messageId: 'm' })])
  await two.arrived(1)
  assert.equal(one.requests.length, 0)
  relay.config.destinations.one.enabled = true
  relay.write()
  assert.equal((await relay.command('reload')).code, 0)
  await one.arrived(1)
  assert.deepEqual(one.messageIds(), ['m'])
})

// A destination gets the events of its sources only.
test('sources of a destination', async (t) => {
  const [one, two] = [await Partner.start(t), await Partner.start(t)]
  const relay = await new Relay(t, {
    sources: [{ name: 'web', write_key: WRITE_KEY }, { name: 'app', write_key: 'app-key' }],
    destinations: { one: { ...hook(one), sources: ['app'] }, two: hook(two) },
  }).start()
  await accepted(relay, [track('E', { messageId: 'web' })])
  await accepted(relay, [track('E', { messageId: 'app' })], { key: 'app-key' })
  await two.arrived(2)
  await until('the other is skipped', async () =>
    await relay.metric('tidegate_events_skipped_total', { destination: 'one', reason: 'source_not_selected' }) === 1)
  await one.arrived(1)
  assert.deepEqual(one.messageIds(), ['app'])
})

// With fewer workers the partition that nobody writes any more is drained, and then it goes.
test('fewer workers', async (t) => {
  const partner = await Partner.start(t)
  const relay = await new Relay(t, { workers: 4, destinations: { hook: hook(partner) } }).start()
  await partner.stop()
  const ids = []
  for (let i = 0; i < 60; i++) ids.push(...await accepted(relay, [track('E')]))
  await relay.stop()
  const partitions = () => readdirSync(join(relay.dir, 'spool')).filter((name) => /^p\d+$/.test(name)).sort()
  assert.deepEqual(partitions(), ['p0', 'p1', 'p2', 'p3'])
  relay.config.workers = 1
  await partner.start()
  await relay.start()
  await until('all have come', () => new Set(partner.messageIds()).size === ids.length, { seconds: 60 })
  await relay.through('hook')
  await relay.stop()
  assert.deepEqual(partitions(), ['p0'])
  assert.ok(existsSync(join(relay.dir, 'spool/state.db')))
})
