// The command line: what a person types and sees.

import assert from 'node:assert/strict'
import { spawn, spawnSync } from 'node:child_process'
import { copyFileSync, cpSync, existsSync, mkdirSync, readdirSync, readFileSync, realpathSync, renameSync, writeFileSync } from 'node:fs'
import { request } from 'node:http'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import test from 'node:test'
import { gzipSync } from 'node:zlib'

import { pairs, Partner } from './lib/partner.mjs'
import { command, folder, Relay, TIDEGATE, WRITE_KEY } from './lib/relay.mjs'
import { accepted, send, track } from './lib/sender.mjs'
import { until } from './lib/wait.mjs'

const REPOSITORY = realpathSync(fileURLToPath(new URL('../..', import.meta.url)))
const COMMANDS = ['run', 'check', 'config', 'status', 'reload', 'stop', 'pause', 'resume', 'dead', 'spool', 'try', 'test',
  'send', 'catch', 'demo', 'version', 'help']

// help lists every command on stdout; each has its own; versions are printed.
test('help', async () => {
  for (const args of [['help'], ['--help'], ['-h']]) {
    const { code, stdout, stderr } = await command(args)
    assert.deepEqual([code, stderr], [0, ''])
    for (const name of COMMANDS) assert.match(stdout, new RegExp(`^  ${name} `, 'm'))
  }
  for (const name of COMMANDS) {
    const { code, stdout } = await command([name, '--help'])
    assert.equal(code, 0, name)
    assert.match(stdout, new RegExp(`tidegate ${name}`))
  }
  for (const name of ['version', '--version', '-V']) assert.equal((await command([name])).stdout, 'tidegate 0.1.0\n')
})

// What is no command, no option or no argument is answered on stderr with status 2, and data stays off stdout.
test('usage errors', async () => {
  for (const [args, wanted] of [
    [[], /usage: tidegate COMMAND/],
    [['nonsense'], /there is no command 'nonsense'/],
    [['run', '--nonsense'], /unknown option --nonsense/],
    [['run', 'what'], /unexpected argument what/],
    [['check', '-c'], /-c needs a value/],
    [['dead'], /usage: tidegate dead/],
    [['try', 'webhook'], /--event/],
    [['send'], /usage: tidegate send/],
    [['catch', '--status', 'odd'], /--status wants/],
    [['catch', '--status', '700'], /--status wants/],
    [['catch', '--header', 'odd'], /--header wants/],
    [['catch', '--delay', 'odd'], /--delay wants milliseconds/],
    [['catch', '--count', '-1'], /--count wants a whole number/],
    [['catch', 'what'], /unexpected argument what/],
  ]) {
    const { code, stdout, stderr } = await command(args)
    assert.equal(code, 2, `${args}: ${stderr}`)
    assert.equal(stdout, '', `${args}`)
    assert.match(stderr, wanted)
  }
})

// What is named and is not there, or is no value of its option: the answer says which, and nothing is shown as if it were there.
test('what is not there', async (t) => {
  const cwd = folder(t)
  writeFileSync(join(cwd, 'event.json'), '{"event":"E","userId":"u"}')
  for (const [args, code, wanted] of [
    [['config'], 2, /say --example/],
    [['help', 'nonsense'], 2, /there is no command 'nonsense'/],
    [['spool', 'nonsense'], 2, /there are ls, cat and verify/],
    [['new'], 2, /an argument is missing/],
    [['new', '../x'], 1, /'\.\.\/x' is not a script's name/],
    [['new', 'x', '--dir', 'none/deep'], 1, /none\/deep\/x: No such file/],
    [['describe', 'nosuch'], 1, /there is no script 'nosuch'\. Searched: /],
    [['describe', 'webhook', '--settings', 'none.json'], 1, /none\.json: No such file/],
    [['test', 'nosuch'], 1, /there is no script 'nosuch'/],
    [['try', 'webhook', '--settings', 'none.json', '--event', 'event.json'], 1, /none\.json: No such file/],
    [['try', 'webhook', '--event', 'event.json', '--at', 'never'], 1, /--at: 'never' is not a time/],
    [['send', 'none.json', '--url', 'http://127.0.0.1:1', '--key', 'k'], 1, /none\.json: No such file/],
    [['send', 'event.json', '--key', 'k'], 1, /name the relay with --url and --key/],
    [['catch', '-l', 'nowhere'], 1, /nowhere: not an address; write host:port/],
    [['catch', '-l', '127.0.0.1:99999'], 1, /99999: not an address/],
    [['demo', '--once', '--dir', 'none/deep/x'], 1, /none\/deep\/x: No such file/],
    [['forget'], 2, /--user-id ID is missing/],
    [['pause'], 2, /an argument is missing/],
    [['dead', 'nosuch'], 2, /unknown command nosuch/],
    [['run', '-c', 'none.lua'], 1, /none\.lua: No such file/],
    [['check', '-c', 'none.lua'], 1, /none\.lua: No such file/],
    [['status', '-c', 'none.lua'], 1, /name the spool's folder with --spool DIR/],
    ...[['status'], ['stop'], ['reload'], ['pause', 'x'], ['resume', 'x'], ['forget', '--user-id', 'x'], ['spool', 'ls'], ['spool', 'cat'], ['spool', 'verify'],
      ['dead', 'ls'], ['dead', 'show', '1'], ['dead', 'drop', '--all']].map((args) => [[...args, '--spool', 'nowhere'], 1, /--spool nowhere: there is no such folder/]),
    [['spool', 'verify', '--spool', 'event.json'], 1, /--spool event\.json: not a folder/],
  ]) {
    const got = await command(args, { cwd })
    assert.equal(got.code, code, `${args}: ${got.stderr}`)
    assert.match(got.stderr, wanted, `${args}`)
    assert.equal(got.stdout, '', `${args}`)
  }
})

// Every option has a line, of commands and of what follows `dead`; a configuration that would change nothing is refused.
test('options', async (t) => {
  const lines = async (...args) => {
    const { code, stdout, stderr } = await command([...args, '--help'], { cwd: folder(t) })
    assert.deepEqual([code, stderr], [0, ''], `${args}`)
    assert.doesNotMatch(stdout, /…$/m, `${args}`)
    return stdout
  }
  for (const name of ['try', 'test', 'describe']) for (const option of ['scripts', 'lua', 'config']) assert.match(await lines(name), new RegExp(`^ +(-c, )?--${option} `, 'm'))
  assert.match(await lines('try'), /Exit status: 0 deliver or skip; 1 reject, retry or error/)
  for (const option of ['listen', 'status', 'header', 'body', 'delay', 'count', 'json']) assert.match(await lines('catch'), new RegExp(`--${option}\\b`))
  for (const word of ['ls', 'cat', 'verify']) assert.match(await lines('spool'), new RegExp(`^${word} +\\w`, 'm'))
  assert.equal((await command(['help', 'try'])).stdout, await lines('try'))
  const replay = await lines('dead', 'replay')
  for (const option of ['dry-run', 'responses', 'all', 'config', 'dest']) assert.match(replay, new RegExp(`^  --${option} `, 'm'))
  assert.doesNotMatch(await lines('dead', 'ls'), /--dry-run/)
  assert.match(await lines('dead'), /dead show ID/)
  for (const args of [['status', '--spool', '.', '-c', 'x'], ['dead', 'ls', '--spool', '.', '-c', 'x'], ['dead', 'replay', '--all', '--spool', '.']]) {
    const { code, stderr } = await command(args, { cwd: folder(t) })
    assert.equal(code, 2, `${args}: ${stderr}`)
  }
})

// Every command takes -c FILE, wherever it stands, so that nobody has to know which ones need it.
test('every command takes -c', async (t) => {
  const cwd = folder(t)
  for (const args of [['version'], ['help'], ['help', 'try'], ['config', '--example'], ['new', 'a']]) {
    const { code, stderr } = await command([...args, '-c', 'nowhere.lua'], { cwd })
    assert.equal(code, 0, `${args}: ${stderr}`)
  }
  const { code, stderr } = await command(['send', '--url', 'http://127.0.0.1:1', '--key', 'k', '-', '-c', 'nowhere.lua'], { cwd, input: '{}' })
  assert.equal(code, 1)
  assert.match(stderr, /127\.0\.0\.1:1/)
})

// An installed program has its scripts beside it wherever it was moved to; the checkout has its own.
test('shipped scripts are the program\'s own', async (t) => {
  const dir = realpathSync(folder(t))
  mkdirSync(join(dir, 'x/bin'), { recursive: true })
  mkdirSync(join(dir, 'x/share/tidegate'), { recursive: true })
  copyFileSync(realpathSync(TIDEGATE), join(dir, 'x/bin/tidegate'))
  for (const name of ['lua', 'destinations']) cpSync(join(REPOSITORY, name), join(dir, 'x/share/tidegate', name), { recursive: true })
  renameSync(join(dir, 'x'), join(dir, 'y'))
  const run = (program, ...args) => spawnSync(program, args, { cwd: dir, encoding: 'utf8' })
  const moved = join(dir, 'y/bin/tidegate')
  assert.equal(JSON.parse(run(moved, 'describe', 'webhook').stdout).folder, join(dir, 'y/share/tidegate/destinations/webhook'))
  assert.match(run(moved, 'help').stdout, new RegExp(`scripts +${dir}/y/share/tidegate/destinations\n +library +${dir}/y/share/tidegate/lua\n`))
  const tested = run(moved, 'test', 'webhook')
  assert.equal(tested.status, 0, tested.stdout + tested.stderr)
  assert.equal(JSON.parse(run(TIDEGATE, 'describe', 'webhook').stdout).folder, join(REPOSITORY, 'destinations/webhook'))
})

// Commands to a relay that does not run say so.
test('nobody there', async (t) => {
  const relay = new Relay(t)
  relay.write()
  for (const args of [['status'], ['stop'], ['reload'], ['pause', 'x']]) {
    const { code, stderr } = await relay.command(...args)
    assert.equal(code, 1)
    assert.match(stderr, /no tidegate runs on this spool/)
  }
  assert.deepEqual(await relay.dead(), [])
})

function tryFiles(t, settings, event, responses) {
  const dir = folder(t)
  const write = (name, value) => {
    writeFileSync(join(dir, name), JSON.stringify(value))
    return join(dir, name)
  }
  const args = ['--settings', write('settings.json', settings), '--event', write('event.json', event)]
  return responses ? [...args, '--responses', write('responses.json', responses)] : args
}

// try renders the request of one event and sends nothing; secrets are masked unless --reveal is said.
test('try', async (t) => {
  const settings = { apiKey: 'try-secret', verificationToken: 'token-secret', postbackUrl: 'https://track.example.com/?nid=9', eventMapping: { Purchase: '24' } }
  const event = track('Purchase', {
    messageId: 'm', timestamp: '2026-01-02T03:04:05.000Z', properties: { total: 76 }, context: { referrer: { type: 'everflow', id: 'tx' } },
  })
  const files = tryFiles(t, settings, event)
  const masked = await command(['try', 'everflow', ...files])
  assert.equal(masked.code, 0, masked.stderr)
  const shown = JSON.parse(masked.stdout)
  assert.deepEqual([shown.outcome, shown.reason ?? null, shown.requests.length], ['deliver', null, 1])
  const [{ method, url, query }] = shown.requests
  assert.deepEqual([method, url], ['GET', 'https://track.example.com/'])
  assert.deepEqual(query, {
    nid: '9', transaction_id: 'tx', adv_event_id: '24', amount: '76', timestamp: '1767323045', user_id: 'user-1', verification_token: '***',
  })
  assert.ok(!masked.stdout.includes('secret'))
  const revealed = await command(['try', 'everflow', ...files, '--reveal'])
  assert.equal(JSON.parse(revealed.stdout).requests[0].query.verification_token, 'token-secret')
  const skipped = await command(['try', 'everflow', ...tryFiles(t, settings, track('Other'))])
  assert.equal(skipped.code, 0)
  assert.deepEqual([JSON.parse(skipped.stdout).outcome, JSON.parse(skipped.stdout).reason], ['skip', 'not_mapped'])
  const refused = await command(['try', 'everflow', ...tryFiles(t, { ...settings, eventMapping: {} }, event)])
  assert.equal(refused.code, 1)
  assert.match(refused.stderr, /eventMapping/)
  const unknown = await command(['try', 'nobody', ...files])
  assert.equal(unknown.code, 1)
  assert.match(unknown.stderr, /nobody/)
})

// What the event's own words would keep back is told, and then what would be sent all the same.
test('try tells the gates of the event', async (t) => {
  const settings = { url: 'https://hooks.example/in' }
  const gatedBy = async (script, more, set = settings) => {
    const { code, stdout, stderr } = await command(['try', script, ...tryFiles(t, set, track('Purchase', { messageId: 'm', ...more }))])
    assert.equal(code, 0, stderr)
    const { gated, outcome, requests } = JSON.parse(stdout)
    assert.deepEqual([outcome, requests.length], ['deliver', 1])
    return gated
  }
  assert.equal(await gatedBy('webhook', {}), undefined)
  assert.equal(await gatedBy('webhook', { integrations: { All: false, Webhook: { id: 1 } } }), undefined)
  const everflow = { apiKey: 'k', postbackUrl: 'https://track.example.com/?nid=9', eventMapping: { Purchase: '24' } }
  const context = { referrer: { type: 'everflow', id: 'tx' } }
  assert.deepEqual(await gatedBy('everflow', { context, integrations: { Everflow: false } }, everflow),
    { reason: 'integration_off', message: 'the event\'s integrations object turns "Everflow" off' })
  assert.deepEqual(await gatedBy('everflow', { context, _metadata: { bundled: ['Everflow'] } }, everflow),
    { reason: 'bundled', message: 'the page has served "Everflow" itself: the event\'s _metadata.bundled names it' })
})

// -c lets a script see what the relay lets it: private addresses, the configuration's folders of scripts; without it the message
// says how.
test('try a script as the relay would run it', async (t) => {
  const dir = folder(t)
  const files = tryFiles(t, { url: 'http://127.0.0.1:9/in' }, track('E', { messageId: 'm' }))
  const refused = await command(['try', 'webhook', ...files], { cwd: dir })
  assert.equal(refused.code, 1)
  assert.match(refused.stderr, /needs egress\.allow_private[^]*Here --allow-private says so, or -c FILE/)
  const config = (allow) => writeFileSync(join(dir, 'relay.lua'), `return { scripts = { "./mine" }, egress = { allow_private = ${allow} },
    sources = { { name = "web", write_key = env("UNSET_KEY") } }, destinations = {} }\n`)
  config('true')
  const tried = await command(['try', 'webhook', '-c', 'relay.lua', ...files], { cwd: dir })
  assert.equal(tried.code, 0, tried.stderr)
  assert.equal(JSON.parse(tried.stdout).requests[0].url, 'http://127.0.0.1:9/in')
  mkdirSync(join(dir, 'mine/other'), { recursive: true })
  writeFileSync(join(dir, 'mine/other/init.lua'), readFileSync(join(REPOSITORY, 'destinations/webhook/init.lua')))
  assert.equal((await command(['try', 'other', ...files, '-c', 'relay.lua'], { cwd: dir })).code, 0)
  const bare = await command(['try', 'webhook', '-c', 'relay.lua', '--event', files[3]], { cwd: dir })
  assert.match(bare.stderr, /settings\.url: required\n--settings FILE gives a script its settings; --dest NAME/)
  config('false')
  assert.equal((await command(['try', 'webhook', '-c', 'relay.lua', ...files], { cwd: dir })).code, 1)
  assert.equal((await command(['try', 'webhook', '--allow-private', ...files], { cwd: dir })).code, 0)
})

// What --responses has no answer for is taken to succeed; a call that fetches a token gets one, and judge and split are not asked.
test('try without answers', async (t) => {
  const dir = folder(t)
  mkdirSync(join(dir, 'crm'))
  writeFileSync(join(dir, 'crm/init.lua'), `local tidegate = require "tidegate"
    return { name = "Crm", hosts = { "crm.example" }, judge = function(response) return response.body == "yes" and "ok" or "reject", "no_answer" end,
      on = { track = function()
        local token = tidegate.oauth2 { token_url = "https://crm.example/token", client_id = "id", client_secret = "secret" }
        tidegate.deliver { url = "https://crm.example/in", headers = { ["X-Token"] = token }, json = {} }
      end } }`)
  const asked = async (...args) => {
    const { code, stdout, stderr } = await command(['try', 'crm', ...args], { cwd: dir })
    const { outcome, reason, requests } = JSON.parse(stdout)
    return [code, outcome, reason, requests.map((r) => new URL(r.url).pathname), stderr]
  }
  const event = track('E', { messageId: 'm' })
  assert.deepEqual(await asked(...tryFiles(t, {}, event)), [0, 'deliver', null, ['/token', '/in'], ''])
  assert.deepEqual(await asked(...tryFiles(t, {}, event, [{ status: 200, body: 'no' }])), [1, 'reject', 'no_answer', ['/token'], ''])
})

// With --dest the configuration's destination is tried: its settings, sources, consent and filter.
test('try a destination of the configuration', async (t) => {
  const dir = folder(t)
  writeFileSync(join(dir, 'tidegate.lua'), `return {
    sources = { { name = "web", write_key = "a" }, { name = "app", write_key = "b" } },
    destinations = {
      hook = { script = "webhook", settings = { url = env("HOOK_URL") }, sources = { "app" }, consent = { "ads" },
        filter = function(event)
          if event.event == "Wrong" then error("no such field") end
          return event.event ~= "Secret" and { drop = { "properties.email" } }
        end },
    },
  }\n`)
  const attempt = async (event, ...args) => {
    writeFileSync(join(dir, 'event.json'), JSON.stringify(event))
    const answer = await command(['try', '--dest', 'hook', '-c', join(dir, 'tidegate.lua'), '--event', join(dir, 'event.json'), ...args],
      { env: { HOOK_URL: 'https://hooks.example/in' } })
    return { ...answer, shown: answer.code === 2 || !answer.stdout ? null : JSON.parse(answer.stdout) }
  }
  const event = track('Order', { properties: { email: 'a@example.test', total: 1 } })
  const { code, shown, stderr } = await attempt(event)
  assert.equal(code, 0, stderr)
  assert.deepEqual([shown.gated, shown.outcome, shown.requests[0].url], [undefined, 'deliver', 'https://hooks.example/in'])
  assert.deepEqual(JSON.parse(shown.requests[0].body).properties, { total: 1 })
  const consent = { context: { consent: { categoryPreferences: { ads: false } } } }
  const cases = [
    [event, ['--source', 'web'], 'source_not_selected', 0],
    [{ ...event, ...consent }, [], 'no_consent', 0],
    [{ ...event, event: 'Secret' }, [], 'filtered', 0],
    [{ ...event, event: 'Wrong' }, [], 'filter_error', 1],
  ]
  for (const [what, args, reason, expected] of cases) {
    const tried = await attempt(what, ...args)
    assert.equal(tried.code, expected, tried.stderr)
    assert.equal(tried.shown.gated.reason, reason)
    assert.notEqual(tried.shown.gated.message, '')
    assert.equal(tried.shown.outcome, 'deliver', reason)
    assert.equal(JSON.parse(tried.shown.requests[0].body).properties.email, 'a@example.test', 'what the filter did not prune')
  }
  assert.match((await attempt(event, '--source', 'nobody')).stderr, /no source nobody/)
  for (const wrong of [['try', '--event', 'e.json'], ['try', 'webhook', '--dest', 'hook', '--event', 'e'], ['try', 'webhook', '--source', 'a', '--event', 'e'],
    ['try', '--dest', 'hook', '--settings', 's', '--event', 'e']]) {
    assert.equal((await command(wrong)).code, 2, wrong.join(' '))
  }
})

// test runs the fixtures of all shipped scripts, or of one.
test('test', async () => {
  const { code, stdout, stderr } = await command(['test'], { seconds: 120 })
  assert.equal(code, 0, stdout + stderr)
  for (const name of ['emarsys', 'everflow', 'extole', 'impact', 'refersion', 'segment', 'webhook']) {
    assert.match(stdout, new RegExp(`^${name} +[1-9]\\d* passed, 0 failed`, 'm'))
  }
  assert.doesNotMatch(stdout, /no fixture touches/)
  const one = await command(['test', 'webhook'])
  assert.equal(one.code, 0)
  assert.doesNotMatch(one.stdout, /impact/)
  assert.notEqual((await command(['test', 'nobody'])).code, 0)
})

// send posts one event, an array, a batch or lines, from a file or standard input.
test('send', async (t) => {
  const partner = await Partner.start(t)
  const relay = await new Relay(t, { destinations: { hook: { script: 'webhook', settings: { url: partner.url } } } }).start()
  const events = (prefix, n) => Array.from({ length: n }, (_, i) => track('E', { messageId: `${prefix}-${i}` }))
  const inputs = {
    one: JSON.stringify(events('one', 1)[0]),
    array: JSON.stringify(events('array', 3)),
    batch: JSON.stringify({ batch: events('batch', 2) }),
    lines: events('lines', 250).map((e) => JSON.stringify(e)).join('\n') + '\n',
  }
  for (const [name, input] of Object.entries(inputs)) {
    const count = { one: 1, array: 3, batch: 2, lines: 250 }[name]
    const { code, stderr } = await command(['send', '--url', relay.url, '--key', WRITE_KEY, '-'], { input })
    assert.equal(code, 0, stderr)
    assert.equal(stderr, `tidegate send: ${count} event${count === 1 ? '' : 's'} accepted\n`)
  }
  await partner.arrived(256)
  assert.equal(new Set(partner.messageIds()).size, 256)
  const refused = await command(['send', '--url', relay.url, '--key', 'wrong', '-'], { input: inputs.one })
  assert.equal(refused.code, 1)
  assert.match(refused.stderr, /answered 401.*unknown_write_key/)
  const broken = await command(['send', '--url', relay.url, '--key', WRITE_KEY, '-'], { input: `${inputs.one}\n{"half` })
  assert.equal(broken.code, 1)
  assert.match(broken.stderr, /line 2/)
})

// send -c finds the relay through its configuration.
test('send with a configuration', async (t) => {
  const relay = await new Relay(t).start()
  relay.pinPorts()
  relay.write()
  const file = join(relay.dir, 'event.json')
  writeFileSync(file, JSON.stringify(track('E')))
  const { code, stderr } = await relay.command('send', file)
  assert.deepEqual([code, stderr], [0, 'tidegate send: 1 event accepted\n'])
  assert.equal(await relay.metric('tidegate_events_accepted_total'), 1)
})

function ask(port, path, body) {
  return new Promise((done, fail) => {
    const req = request({ host: '127.0.0.1', port, path, method: 'POST', headers: { 'content-type': 'application/json' } }, (res) => {
      let text = ''
      res.on('data', (chunk) => { text += chunk })
      res.on('end', () => done({ status: res.statusCode, headers: res.headers, body: text }))
    })
    req.on('error', fail)
    req.end(body)
  })
}

// catch shows requests and answers in the order that it was told, as JSON lines when asked, and ends after --count.
test('catch', async (t) => {
  const child = spawn(TIDEGATE, ['catch', '-l', '127.0.0.1:0', '--status', '500,429,200', '--header', 'Retry-After: 1', '--body', 'told',
    '--json', '--count', '4'], { stdio: ['ignore', 'pipe', 'pipe'] })
  t.after(() => child.kill('SIGKILL'))
  let [stdout, stderr, ended] = ['', '', null]
  child.stdout.on('data', (chunk) => { stdout += chunk })
  child.stderr.on('data', (chunk) => { stderr += chunk })
  child.on('close', (code) => { ended = { code } })
  const [, port] = await until('it listens', () => /listening on http:\/\/127\.0\.0\.1:(\d+)/.exec(stderr))
  const answers = []
  for (let i = 0; i < 4; i++) answers.push(await ask(Number(port), `/path?n=${i}`, `{"n":${i}}`))
  assert.deepEqual(answers.map((a) => a.status), [500, 429, 200, 200])
  assert.deepEqual([answers[0].body, answers[0].headers['retry-after']], ['told', '1'])
  assert.deepEqual(await until('it ends', () => ended), { code: 0 })
  const shown = stdout.trim().split('\n').map((line) => JSON.parse(line))
  assert.equal(shown.length, 4)
  assert.match(JSON.stringify(shown[3]), /path\?n=3|"n":"3"/)
})

// The stand-in takes every method, shows a request as it came and what its form and its gzip hold, and answers the last one too before it ends.
test('catch shows', async (t) => {
  const child = spawn(TIDEGATE, ['catch', '--listen=127.0.0.1:0', '--delay', '400', '--count', '3', '-H', 'X-Told:  yes'], { stdio: ['ignore', 'pipe', 'pipe'] })
  t.after(() => child.kill('SIGKILL'))
  let [stdout, stderr, ended] = ['', '', null]
  child.stdout.on('data', (chunk) => { stdout += chunk })
  child.stderr.on('data', (chunk) => { stderr += chunk })
  child.on('close', (code) => { ended = { code } })
  const [, base] = await until('it listens', () => /listening on (http:\S+)/.exec(stderr))
  const send = async (path, init) => {
    const answer = await fetch(base + path, init)
    return [answer.status, answer.headers.get('x-told'), await answer.text()]
  }
  assert.deepEqual(await send('/a?x=1&y=%C3%A9', { method: 'PATCH', headers: { 'Content-Type': 'application/x-www-form-urlencoded' }, body: 'b=2+3' }), [200, 'yes', '{}'])
  assert.deepEqual(await send('/z', { method: 'PUT', headers: { 'Content-Encoding': 'gzip' }, body: gzipSync('{"zipped":[1]}') }), [200, 'yes', '{}'])
  assert.deepEqual(await send('/h', { method: 'HEAD' }), [200, 'yes', ''])
  assert.deepEqual(await until('it ends', () => ended), { code: 0 })
  for (const wanted of [/^--- request 1, answered 200\nPATCH http:\/\/127\.0\.0\.1:\d+\/a\?x=1&y=%C3%A9\n/, /^x = 1\ny = é$/m, /^b = 2 3$/m, /^PUT .*\/z$/m, /^ {2}"zipped": \[\n {4}1\n {2}\]$/m, /^HEAD .*\/h$/m])
    assert.match(stdout, wanted)
})

// spool ls, cat and verify beside a running relay and on a damaged file.
test('spool', async (t) => {
  const partner = await Partner.start(t)
  const relay = await new Relay(t, { workers: 1, destinations: { hook: { script: 'webhook', settings: { url: partner.url } } } }).start()
  assert.equal((await relay.command('pause', 'hook')).code, 0)
  await accepted(relay, [track('First', { messageId: 'm-1' }), track('Second', { messageId: 'm-2' })])
  const listed = await relay.command('spool', 'ls')
  assert.equal(listed.code, 0, listed.stderr)
  assert.match(listed.stdout, /p0\/\S+\.seg +epoch \d+ +events 2 +1-2 /)
  assert.match(listed.stdout, /1 segments?, 2 events, 0 damaged places/)
  const [segment1] = (await relay.command('spool', 'ls', '--json')).stdout.trimEnd().split('\n').map((line) => JSON.parse(line))
  assert.match(segment1.path, /p0\/\S+\.seg$/)
  assert.deepEqual([segment1.events, segment1.first, segment1.last, segment1.damaged, segment1.torn], [2, 1, 2, false, false])
  const cat = await relay.command('spool', 'cat')
  assert.deepEqual(cat.stdout.trim().split('\n').map((line) => JSON.parse(line)).map((r) => [r.seq, r.source, r.event.messageId]),
    [[1, 'web', 'm-1'], [2, 'web', 'm-2']])
  assert.equal((await relay.command('spool', 'verify')).code, 0)
  await relay.killAll()
  const dir = join(relay.dir, 'spool/p0')
  const segment = join(dir, readdirSync(dir).find((name) => name.endsWith('.seg')))
  const bytes = readFileSync(segment)
  bytes[bytes.indexOf('First')] ^= 0xff
  writeFileSync(segment, bytes)
  const verified = await relay.command('spool', 'verify')
  assert.equal(verified.code, 1)
  assert.match(verified.stdout + verified.stderr, /damaged: .*bytes at offset/)
  // The intact event behind the damage is delivered, the damage is counted.
  await relay.start()
  assert.equal((await relay.command('resume', 'hook')).code, 0)
  await partner.arrived(1)
  assert.deepEqual(partner.messageIds(), ['m-2'])
  assert.equal(await relay.metric('tidegate_spool_damaged_records_total'), 1)
})

// dead ls with filters, for people and as JSON; show; drop of some and of all, beside a running relay.
test('dead', async (t) => {
  const partner = await Partner.start(t, { answer: (r) => ({ status: r.body.includes('Good') ? 200 : 400, body: 'sorry' }) })
  const relay = await new Relay(t, {
    destinations: { one: { script: 'webhook', settings: { url: `${partner.url}/one` } }, two: { script: 'webhook', settings: { url: `${partner.url}/two` } } },
  }).start()
  await accepted(relay, [track('Alpha', { messageId: 'm-1' }), track('Beta', { messageId: 'm-2', userId: 'user-2' }), track('Good'), { type: 'odd' }])
  await until('five dead letters', async () => (await relay.dead()).length === 5)
  const count = async (...filter) => (await relay.dead(...filter)).length
  assert.equal(await count('--dest', 'one'), 2)
  assert.equal(await count('--set-aside'), 1)
  assert.equal(await count('--reason', 'http_400'), 4)
  assert.equal(await count('--message-id', 'm-1'), 2)
  assert.equal(await count('--event', 'Beta', '--dest', 'two'), 1)
  assert.equal(await count('--user', 'user-2'), 2)
  assert.equal(await count('--source', 'web'), 5)
  assert.equal(await count('--since', '1h'), 5)
  assert.equal(await count('--until', '2020-01-01T00:00:00Z'), 0)
  assert.equal(await count('--limit', '3'), 3)
  const table = await relay.command('dead', 'ls', '--dest', 'one')
  assert.match(table.stdout, /^ID +LAST +DESTINATION +SOURCE +EVENT +STATUS +TRIES +REASON\n/)
  assert.match(table.stdout, /one +web +Alpha +400 +1 +http_400/)
  const [{ id }] = await relay.dead('--dest', 'one', '--event', 'Alpha')
  const shown = JSON.parse((await relay.command('dead', 'show', String(id), '--json')).stdout)
  assert.match(shown.request, /^POST http:\/\/127\.0\.0\.1:\d+\/one\n/)
  assert.match(shown.response, /^400\n[^]*\nsorry$/)
  assert.equal((await relay.command('dead', 'drop', '--event', 'Alpha')).code, 0)
  assert.equal(await count(), 3)
  assert.equal((await relay.command('dead', 'drop')).code, 2, 'not all of them by accident')
  assert.equal((await relay.command('dead', 'drop', '--all')).code, 0)
  assert.equal(await count(), 0)
  assert.notEqual((await relay.command('dead', 'show', '12345')).code, 0)
})

// status counts what became of events, for people and as JSON, and says by which answer a destination stands still.
test('status', async (t) => {
  const partner = await Partner.start(t, { answer: (r) => ({ status: r.url.startsWith('/closed') ? 401 : r.body.includes('Bad') ? 400 : 200 }) })
  const relay = await new Relay(t, {
    sources: [{ name: 'web', write_key: WRITE_KEY }, { name: 'app', write_key: 'app-key' }],
    destinations: {
      open: { script: 'webhook', settings: { url: `${partner.url}/open` } },
      picky: { script: 'webhook', sources: ['app'], settings: { url: `${partner.url}/open` } },
      closed: { script: 'webhook', settings: { url: `${partner.url}/closed?key=in-the-query` } },
    },
  }).start()
  await accepted(relay, [track('Good', { messageId: 'm-1' }), track('Good', { messageId: 'm-2' }), track('Bad', { messageId: 'm-3' })])
  const counts = (d) => [d.delivered, d.skipped, d.rejected, d.retried, d.dead, d.dropped, d.waiting]
  await until('all are counted, and the one that knows why says that it is parked', async () => {
    const { open, picky, closed } = JSON.parse((await relay.command('status', '--json')).stdout).destinations
    return JSON.stringify([counts(open), counts(picky), counts(closed)]) === '[[2,0,1,0,1,0,0],[0,3,0,0,0,0,0],[0,0,0,0,0,0,3]]'
      && closed.because !== null
  })
  const refused = await fetch(`${relay.url}/v1/track?writeKey=nobodys`, { method: 'POST', body: JSON.stringify(track('Good')) })
  assert.equal(refused.status, 401)
  await accepted(relay, [track('Good', { messageId: 'm-1' }), { type: 'bogus' }])
  const { sources, refused: codes, destinations } = JSON.parse((await relay.command('status', '--json')).stdout)
  assert.deepEqual(sources, { web: { accepted: 3, duplicates: 1, set_aside: { invalid_type: 1 } } })
  assert.deepEqual(codes, { unknown_write_key: 1 })
  assert.deepEqual(destinations.picky.reasons, { skipped: { source_not_selected: 3 } })
  const { stdout } = await relay.command('status')
  assert.match(stdout, /^ {2}source web: accepted 3, duplicates 1, set aside: invalid_type 1\n {2}requests refused: unknown_write_key 1$/m)
  assert.match(stdout, /^ {2}picky: .*\n.*\n.*\n {4}because: skipped source_not_selected 3$/m)
  assert.match(stdout, /^ {2}open: .*\n.*\n.*\n {4}because: dead http_400 1$/m)
  assert.match(stdout, /^ {2}open: running, backlog 0 events,.*\n {4}disk: .*\n {4}since the start: delivered 2, skipped 0, rejected 1, retried 0, dead 1, dropped 0$/m)
  assert.match(stdout, /^ {2}closed: parked, backlog 3 events.*, parked: http_401 \(401 from POST http:\/\/127\.0\.0\.1:\d+\/closed\)$/m)
  assert.ok(!stdout.includes('in-the-query'))
  await relay.restart()
  assert.match((await relay.command('status')).stdout, /parked: http_401 \(401 from POST http:\S+\/closed\)$/m)
  assert.equal((await relay.command('resume', 'closed')).code, 0)
})

// stop ends the relay in order.
test('stop', async (t) => {
  const relay = await new Relay(t).start()
  const { code, stdout } = await relay.command('stop')
  assert.deepEqual([code, stdout], [0, 'stopping\n'])
  const state = existsSync(`/proc/${relay.pid}/stat`) ? readFileSync(`/proc/${relay.pid}/stat`, 'utf8') : ') Z'
  assert.match(state, /\) [ZX]/, 'it has ended when the command returns')
  assert.deepEqual(await relay.ended, { code: 0, signal: null })
})

// demo --once: each partner's sample event, and exactly the request that it becomes.
test('demo', async () => {
  const { code, stdout, stderr } = await command(['demo', '--once'], { seconds: 60 })
  assert.equal(code, 0, stderr)
  const parts = stdout.split(/^=== /m).slice(1)
  assert.deepEqual(parts.map((p) => p.split('\n')[0]), ['emarsys', 'everflow', 'extole', 'impact', 'refersion', 'segment', 'webhook'])
  for (const part of parts) {
    const [name] = part.split('\n')
    assert.match(part, /--- the event, posted to http:\/\/127\.0\.0\.1:\d+\/v1\/batch\n/, name)
    assert.match(part, /--- answered 200 \{"success":true\}\n/, name)
    assert.match(part, new RegExp(`--- what ${name} gets\n(GET|POST) http://${name}\\.localhost:\\d+/`), name)
  }
  const part = (name) => parts.find((p) => p.startsWith(`${name}\n`))
  const query = /^GET \S+\?(\S+)$/m.exec(part('everflow'))[1]
  assert.ok(pairs(query).transaction_id && pairs(query).nid, query)
  assert.match(part('impact'), /\/Advertisers\/[^/]+\/Conversions\n[^]*Authorization: Basic /)
})

// A configuration is found in the folder, in the environment, or where -c says, also as the last argument.
test('where the configuration is', async (t) => {
  const relay = new Relay(t)
  relay.write()
  for (const [args, options] of [
    [['check'], { cwd: relay.dir }],
    [['check'], { env: { TIDEGATE_CONFIG: relay.file } }],
    [['check', '-c', relay.file], {}],
    [['check', '--config', relay.file], {}],
    [['dead', 'ls', '-c', relay.file], {}],
    [['spool', 'ls', '-c', relay.file], {}],
  ]) {
    const { code, stderr } = await command(args, { cwd: '/', ...options })
    assert.equal(code, 0, `${args}: ${stderr}`)
  }
  assert.equal((await command(['check'], { cwd: '/' })).code, 1)
})
