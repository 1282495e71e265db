// The way of an author: a new script, its fixtures, what is left to test, the contract.

import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import test from 'node:test'

import { command, folder, TIDEGATE } from './lib/relay.mjs'
import { until } from './lib/wait.mjs'

function edit(file, from, to) {
  const text = readFileSync(file, 'utf8')
  assert.ok(text.includes(from), `${file} has ${from}`)
  writeFileSync(file, text.replace(from, to))
}

// `new` gives a script whose own fixture fails at the one place where something is to be written.
test('a new script works, and its fixture says what to write', async (t) => {
  const dir = folder(t)
  const made = await command(['new', 'slack'], { cwd: dir })
  assert.equal(made.code, 0, made.stderr)
  const first = await command(['test', 'slack'], { cwd: dir })
  assert.equal(first.code, 1)
  assert.match(first.stdout, /FAIL slack\/write-me\.lua: Write here/)
  assert.match(first.stdout, /\[1\]\.json\.order: expected \{.*\}, got nothing/)
  assert.match(first.stdout, /slack +2 passed, 1 failed\n$/, 'nothing is untouched')

  edit(join(dir, 'slack/init.lua'), '{ to = "occurred_at"', '{ to = "order", from = "properties", as = order },\n  { to = "occurred_at"')
  edit(join(dir, 'slack/init.lua'), '-- What the partner', `local function order(properties)
  if type(properties) == "table" and properties.order_id then
    return { id = properties.order_id, amount = properties.total, currency = properties.currency }
  end
end

-- What the partner`)
  const second = await command(['test', 'slack'], { cwd: dir })
  assert.match(second.stdout, /FAIL slack\/sample\.lua.*\n.*requests\n.*order: got \{.*\}, which is not expected/)
  const updated = await command(['test', '--update', 'slack'], { cwd: dir })
  assert.equal(updated.code, 0, updated.stdout)
  assert.match(updated.stdout, /now accepted: slack\/sample\.lua/)
  const third = await command(['test', 'slack'], { cwd: dir })
  assert.deepEqual([third.code, third.stdout], [0, 'slack        3 passed, 0 failed\n'])

  const again = await command(['new', 'slack'], { cwd: dir })
  assert.equal(again.code, 1)
  assert.match(again.stderr, /slack: File exists/)
  const elsewhere = await command(['new', 'chat', '--dir', 'mine'], { cwd: dir })
  assert.equal(elsewhere.code, 0, elsewhere.stderr)
  assert.match((await command(['test', '--scripts', 'mine', 'chat'], { cwd: dir })).stdout, /chat +2 passed, 1 failed/)
  const odd = await command(['new', '../slack'], { cwd: dir })
  assert.match(odd.stderr, /not a script's name/)
})

// An error of the script is never accepted as what is expected.
test('--update does not accept an error', async (t) => {
  const dir = folder(t)
  await command(['new', 'bad'], { cwd: dir })
  const file = join(dir, 'bad/fixtures/sample.lua')
  const before = readFileSync(file, 'utf8')
  edit(join(dir, 'bad/init.lua'), 'deliver {', 'error "broken"\n  deliver {')
  const { code, stdout } = await command(['test', '--update', 'bad'], { cwd: dir })
  assert.equal(code, 1)
  assert.match(stdout, /not accepted: an error of the script/)
  assert.match(stdout, /it said: bad\/init\.lua:\d+: broken/)
  assert.equal(readFileSync(file, 'utf8'), before)
})

// What --update writes is shown: all of it where the fixture expected nothing yet, bodies of several lines line by line.
test('--update shows what it writes', async (t) => {
  const dir = folder(t)
  await command(['new', 'lines'], { cwd: dir })
  const init = (verb) => writeFileSync(join(dir, 'lines/init.lua'), `local tidegate = require "tidegate"
return { name = "Lines", hosts = { "api.example.com" }, on = { track = function(event)
  local body = tidegate.json.encode { id = 1 } .. "\\n" .. tidegate.json.encode { id = 2, verb = "${verb}" } .. "\\n"
  tidegate.deliver { url = "https://api.example.com/in", body = body, headers = { ["Content-Type"] = "application/x-ndjson" } }
end } }
`)
  init('buy')
  for (const name of ['sample', 'no-email', 'write-me']) {
    writeFileSync(join(dir, `lines/fixtures/${name}.lua`), 'return {\n  event = { type = "track", event = "E", userId = "u" },\n}\n')
  }
  const written = await command(['test', '--update', 'lines'], { cwd: dir })
  assert.equal(written.code, 0, written.stdout)
  assert.match(written.stdout, /^ +\+ +outcome = "deliver",$/m)
  assert.match(written.stdout, /^ +\+ +body = "\{\\"id\\":1\}\\n"$/m)
  assert.match(written.stdout, /^ +\+ +\.\. "\{\\"id\\":2,\\"verb\\":\\"buy\\"\}\\n",$/m)
  assert.equal((await command(['test', 'lines'], { cwd: dir })).code, 0)
  init('sell')
  const other = await command(['test', 'lines'], { cwd: dir })
  assert.match(other.stdout, /^ +\[1\]\.body line 2\.verb: expected "buy", got "sell"$/m)
})

// A script that cannot be loaded says so once, not with each fixture.
test('a load error is told once', async (t) => {
  const dir = folder(t)
  await command(['new', 'bad'], { cwd: dir })
  edit(join(dir, 'bad/init.lua'), 'return {', 'return {{')
  const { code, stdout } = await command(['test', 'bad'], { cwd: dir })
  assert.equal(code, 1)
  assert.equal(stdout.match(/bad\/init\.lua:\d+:/g).length, 1, stdout)
  assert.equal(stdout.match(/as above/g).length, 2, stdout)
})

// What no fixture touches is named: types, settings, rows.
test('untouched parts of a script are listed', async (t) => {
  const dir = folder(t)
  await command(['new', 'part'], { cwd: dir })
  edit(join(dir, 'part/init.lua'), 'on = { track = track }', 'on = { track = track, page = track }')
  edit(join(dir, 'part/init.lua'), '{ to = "occurred_at"', '{ to = "never", from = "properties.never" },\n  { to = "occurred_at"')
  edit(join(dir, 'part/init.lua'), 'settings = {', 'settings = {\n    spare = { type = "string", help = "unused" },')
  const { stdout } = await command(['test', 'part'], { cwd: dir })
  assert.match(stdout, /no fixture touches\n +handler page\n +setting spare\n +map part\/init\.lua:\d+: row 4 \(never\)\n/)
})

// --watch runs again after a change, and again.
test('--watch runs after each change', async (t) => {
  const dir = folder(t)
  await command(['new', 'slack'], { cwd: dir })
  const child = spawn(TIDEGATE, ['test', 'slack', '--watch'], { cwd: dir, stdio: ['ignore', 'pipe', 'inherit'] })
  t.after(() => child.kill('SIGKILL'))
  let out = ''
  child.stdout.on('data', (text) => { out += text })
  const rounds = (n) => until(`${n} rounds`, () => out.split('watching;').length > n)
  await rounds(1)
  writeFileSync(join(dir, 'slack/fixtures/write-me.lua'), 'return {\n')
  await rounds(2)
  assert.match(out, /near '<eof>'/)
  edit(join(dir, 'slack/init.lua'), '"Bearer "', '"Token "')
  await rounds(3)
  assert.match(out, /expected "Bearer key-1", got "Token key-1"/)
})

// The contract as JSON, for tools.
test('describe prints the contract', async (t) => {
  const { code, stdout } = await command(['describe', 'webhook'], { cwd: folder(t) })
  assert.equal(code, 0)
  const contract = JSON.parse(stdout)
  assert.equal(contract.name, 'Webhook')
  assert.equal(contract.settings.url.required, true)
  assert.deepEqual([...contract.accepts].sort(), ['alias', 'delete', 'group', 'identify', 'page', 'screen', 'track'])
})
