// The known mix: two calls of each type, the first with the least that the type asks for, the second with everything.
//
// A call is {type, label, told}: `told` is what the caller says, in the words of the events that come out: userId, event,
// properties, traits, context … Each SDK has its own way to say it, and returns what it can carry of it. The label
// recognises the event wherever it turns up.

export const TYPES = ['identify', 'track', 'page', 'screen', 'group', 'alias']

// Values that something on the way may be tempted to change.
export const VALUES = {
  number: 76.5,
  most: Number.MAX_SAFE_INTEGER,
  small: -0.001,
  huge: 1e21,
  yes: true,
  no: false,
  nothing: null,
  blank: '',
  list: [],
  holes: [1, null],
  map: {},
  nested: { list: [1, 'two', [3, [4]], { five: 5 }], map: { of: { maps: {} } } },
  text: 'quote " slash / backslash \\ tab \t line \n null \u0000 separator \u2028 žluťoučký 😀',
  half: 'a cut emoji \ud83d',
  'clé à espaces.et.points': 1,
  long: 'long '.repeat(1000),
}

function least(type, label, user) {
  switch (type) {
  case 'identify': return { userId: user, traits: { label } }
  case 'track': return { userId: user, event: 'Least Tracked', properties: { label } }
  case 'group': return { userId: user, groupId: 'group-1', traits: { label } }
  case 'alias': return { userId: user, previousId: label }
  default: return { userId: user, name: 'Least', properties: { label } }
  }
}

function most(type, label, user) {
  const all = {
    ...least(type, label, user),
    timestamp: new Date(Date.now() - 3600_000),
    context: { ip: '203.0.113.7', active: false, campaign: { name: 'c1', source: 'mail' }, values: VALUES },
    integrations: { All: true, 'Some Partner': { id: 7 } },
  }
  if (all.properties) all.properties = { label, ...VALUES }
  if (all.traits) all.traits = { label, email: 'user@example.test', ...VALUES }
  if (type !== 'alias') all.anonymousId = `anonymous-${label}` // no SDK has it there
  if (type === 'track') all.event = 'Most Tracked: žluťoučký 😀'
  if (type === 'page' || type === 'screen') Object.assign(all, { name: 'Most', category: 'Catalogue' })
  return all
}

export function mix(tag, types = TYPES) {
  const user = `user-${tag}`
  return types.flatMap((type) => [least, most].map((make) => {
    const label = `${tag}-${type}-${make.name}`
    return { type, label, told: make(type, label, user) }
  }))
}

// The label of an event that arrived. RudderStack's browser SDK keeps a user's traits in the context alone.
export function labelOf(event) {
  switch (event.type) {
  case 'identify': return (event.traits ?? event.context.traits).label
  case 'group': return event.traits.label
  case 'alias': return event.previousId
  default: return event.properties.label
  }
}
