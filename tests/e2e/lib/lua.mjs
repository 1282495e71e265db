// JavaScript values as Lua text: configurations are written as objects.

// Text that goes into the configuration as it is: lua`env("KEY")`
export function lua(strings, ...values) {
  return { luaText: String.raw({ raw: strings.raw }, ...values) }
}

function quote(text) {
  const bytes = [...Buffer.from(text)]
  return `"${bytes.map((b) => (b < 32 || b > 126 || b === 34 || b === 92
    ? `\\${String(b).padStart(3, '0')}` : String.fromCharCode(b))).join('')}"`
}

export function toLua(value, indent = '') {
  if (value === null || value === undefined) return 'nil'
  if (typeof value === 'string') return quote(value)
  if (typeof value !== 'object') return String(value)
  if (value.luaText !== undefined) return value.luaText
  const deeper = indent + '  '
  const members = Array.isArray(value)
    ? value.map((item) => toLua(item, deeper))
    : Object.entries(value).filter(([, item]) => item !== undefined)
      .map(([key, item]) => `[${quote(key)}] = ${toLua(item, deeper)}`)
  return members.length ? `{\n${members.map((m) => deeper + m).join(',\n')}\n${indent}}` : '{}'
}
