import { errorCodes, type JsonSchema } from '../../../model/index.ts'
import { problemTitles } from '../../problem.ts'
import type { Answer, ApiOperation, Content, OpenApi, Parameter } from '../openapi.ts'
import { docsScript, docsStyle } from './docs-assets.ts'
import { type Html, html } from './html.ts'
import { pageResponse, sign } from './page.ts'

type Schemas = Readonly<Record<string, JsonSchema>>

interface Entry {
  readonly id: string
  readonly method: string
  readonly path: string
  readonly operation: ApiOperation
}

/** The page at `/docs`: the OpenAPI document for people. */
export function docsPage(document: OpenApi): Response {
  return pageResponse({
    title: 'visor API',
    body: body(document, entriesOf(document)),
    style: docsStyle,
    script: docsScript,
  })
}

function entriesOf({ paths }: OpenApi): Entry[] {
  return Object.entries(paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, operation]) => ({
      id: `op-${operation.operationId}`,
      method: method.toUpperCase(),
      path,
      operation,
    })),
  )
}

function body(document: OpenApi, entries: readonly Entry[]): Html {
  const { info, tags, components } = document
  const of = (tag: string) => entries.filter(({ operation }) => operation.tags.includes(tag))
  const schemas = Object.entries(components.schemas)
  return html`<header class="bar">${sign}<strong>visor</strong><span class="muted">API ${info.version}</span>
<a class="push small" href="/v1/openapi.json">OpenAPI document</a><a class="small" href="/">Machines</a></header>
<div class="columns">
<nav aria-label="Contents">
<input id="find" type="search" placeholder="Find" aria-label="Find an operation">
<h2>Guide</h2><ul>${headings(info.description).map((title) => html`<li><a href="#${anchor(title)}">${title}</a></li>`)}</ul>
${tags.map(
  (tag) =>
    html`<h2>${capital(tag.name)}</h2><ul>${of(tag.name).map(
      (entry) =>
        html`<li data-find="${entry.operation.summary} ${entry.path}"><a href="#${entry.id}" class="entry"><span class="verb ${entry.method}">${short(entry.method)}</span><span>${shortPath(entry.path)}</span></a></li>`,
    )}</ul>`,
)}
<h2>Nouns</h2><ul>${schemas.map(([name]) => html`<li data-find="${name}"><a href="#schema-${name}">${name}</a></li>`)}</ul>
<h2>Errors</h2><ul><li><a href="#errors">Codes</a></li></ul>
</nav>
<main>
<h1>The visor API</h1>
${guide(info.description)}
${tags.map(
  (
    tag,
  ) => html`<section><h2 id="tag-${tag.name}">${capital(tag.name)}</h2><p class="muted">${tag.description}</p>
${of(tag.name).map((entry) => operationCard(entry, components.schemas))}</section>`,
)}
<section><h2 id="schemas">Nouns</h2><p class="muted">What the bodies are made of. A field marked with * is always there.</p>
${schemas.map(([name, schema]) => schemaCard(name, schema))}</section>
<section><h2 id="errors">Error codes</h2>${errorTable()}</section>
</main></div>`
}

function headings(text: string): string[] {
  return text.split('\n\n').flatMap((part) => (part.startsWith('# ') ? [part.slice(2)] : []))
}

function guide(text: string): Html[] {
  return text
    .split('\n\n')
    .map((part) =>
      part.startsWith('# ')
        ? html`<h3 id="${anchor(part.slice(2))}">${part.slice(2)}</h3>`
        : html`<p class="prose">${prose(part)}</p>`,
    )
}

/** Text in which backquotes mark code. */
function prose(text: string): Html[] {
  return text.split('`').map((part, index) => (index % 2 === 1 ? html`<code>${part}</code>` : html`${part}`))
}

function operationCard({ id, method, path, operation }: Entry, schemas: Schemas): Html {
  const access = operation['x-access']
  return html`<article class="card operation" id="${id}" data-find="${operation.summary} ${path}">
<header><span class="verb ${method}">${method}</span><code class="path">${pathParts(path)}</code>${
    access &&
    html`<span class="pill ${access === 'read' ? '' : access === 'write' ? 'info' : 'warn'}">${access}</span>`
  }${operation.security && html`<span class="pill">no login</span>`}</header>
<p>${operation.summary}</p>
${operation.description && html`<p class="muted">${prose(operation.description)}</p>`}
${operation.parameters && parameterTable(operation.parameters)}
${operation.requestBody && html`<h4>Body</h4><p>${contents(operation.requestBody.content)}</p>`}
<h4>Answers</h4><ul class="answers">${Object.entries(operation.responses).map(([status, answer]) => answerLine(status, answer))}</ul>
<details><summary>As a command</summary><pre>${command(method, path, operation, schemas)}</pre></details>
</article>`
}

function parameterTable(parameters: readonly Parameter[]): Html {
  return html`<h4>Parameters</h4><div class="wide"><table><tbody>${parameters.map(
    ({
      name,
      in: where,
      description,
      required,
      schema,
    }) => html`<tr><td><code>${name}</code>${required && html`<b class="required" title="required">*</b>`}</td>
<td class="muted small">${where}</td><td class="small">${typeName(schema)}</td><td>${prose(description)}</td></tr>`,
  )}</tbody></table></div>`
}

function answerLine(status: string, answer: Answer | { readonly $ref: string }): Html {
  if ('$ref' in answer)
    return html`<li><span class="status bad">else</span><span><a href="#schema-Problem">Problem</a>, with one of the <a href="#errors">codes</a></span></li>`
  return html`<li><span class="status">${status}</span><span>${answer.description} ${answer.content && contents(answer.content)}</span></li>`
}

function contents(content: Content): Html[] {
  return Object.entries(content).map(
    ([type, { schema }], index) => html`${index > 0 && ' · '}<code>${type}</code> ${typeName(schema)}`,
  )
}

/** The type of a schema in a few words, with a link to its noun. */
function typeName(schema: JsonSchema): Html {
  const { $ref, type, items, enum: values, anyOf, const: only, additionalProperties } = schema
  if (typeof $ref === 'string') {
    const name = $ref.split('/').at(-1) ?? ''
    return html`<a href="#schema-${name}">${name}</a>`
  }
  if (Array.isArray(values) && values.length > 12) return html`one of ${values.length} words`
  if (Array.isArray(values))
    return html`${values.map((value, index) => html`${index > 0 && ' | '}<code>${value}</code>`)}`
  if (only !== undefined) return html`<code>${only}</code>`
  const choices = anyOf ?? schema.allOf ?? schema.oneOf
  if (Array.isArray(choices))
    return html`${choices.map((one, index) => html`${index > 0 && ' or '}${typeName(one as JsonSchema)}`)}`
  if (type === 'array') return html`list of ${typeName((items ?? {}) as JsonSchema)}`
  if (type === 'object' && typeof additionalProperties === 'object' && additionalProperties !== null)
    return html`record of ${typeName(additionalProperties as JsonSchema)}`
  return html`${type}`
}

function schemaCard(name: string, schema: JsonSchema): Html {
  const properties = Object.entries((schema.properties ?? {}) as Record<string, JsonSchema>)
  const required = (schema.required ?? []) as readonly string[]
  return html`<article class="card operation" id="schema-${name}" data-find="${name}"><header><strong>${name}</strong></header>
<p>${schema.description}</p>
<div class="wide"><table><tbody>${properties.map(
    ([key, property]) =>
      html`<tr><td><code>${key}</code>${required.includes(key) && html`<b class="required" title="always there">*</b>`}</td><td class="small">${typeName(property)}</td><td>${property.description}${
        property.default !== undefined &&
        html` <span class="muted small">default <code>${JSON.stringify(property.default)}</code></span>`
      }</td></tr>`,
  )}</tbody></table></div></article>`
}

function errorTable(): Html {
  const codes = Object.entries(errorCodes) as [keyof typeof errorCodes, { http: number }][]
  return html`<div class="card wide"><table><thead><tr><th>Code</th><th>Status</th><th>Meaning</th></tr></thead><tbody>${codes.map(
    ([code, { http }]) =>
      html`<tr id="error-${code}"><td><code>${code}</code></td><td>${http}</td><td>${problemTitles[code]}</td></tr>`,
  )}</tbody></table></div>`
}

const exampleKeys: Readonly<Record<string, string>> = {
  domain: 'web',
  image: 'micro',
  volume: 'web.qcow2',
  job: 'JOB',
}

function command(method: string, path: string, operation: ApiOperation, schemas: Schemas): string {
  const address = `http://localhost${path.replace(/\{(\w+)\}/u, (_all, key) => exampleKeys[key] ?? key)}`
  const parts = ['curl --unix-socket /run/visor/visord.sock']
  if (method !== 'GET') parts.push(`-X ${method}`)
  if (operation.requestBody?.content['application/yaml'])
    parts.push("-H 'Content-Type: application/yaml' --data-binary @web.yaml")
  else if (operation.requestBody)
    parts.push(`--json '${exampleOf(operation.requestBody.content['application/json']?.schema, schemas)}'`)
  if (operation.operationId === 'events') parts.push('-N')
  if (operation.operationId === 'domains.openConsole') return 'visor console web'
  return [...parts, address].join(' \\\n  ')
}

/** The smallest body: what must be there, with a value that fits. */
function exampleOf({ $ref }: JsonSchema = {}, schemas: Schemas): string {
  const { required = [], properties = {} } = schemas[String($ref).split('/').at(-1) ?? ''] ?? {}
  const types = properties as Record<string, JsonSchema>
  const fields = (required as readonly string[]).map((name) => {
    const isNumber = types[name]?.type === 'integer'
    return [name, isNumber ? 10 * 2 ** 30 : types[name]?.type === 'boolean' ? true : 'text']
  })
  return JSON.stringify(Object.fromEntries(fields))
}

function pathParts(path: string): Html[] {
  return path.split(/(\{\w+\})/u).map((part) => (part.startsWith('{') ? html`<i>${part}</i>` : html`${part}`))
}

const anchor = (title: string) => `guide-${title.toLowerCase().replace(/\W+/gu, '-')}`
const capital = (text: string) => text.charAt(0).toUpperCase() + text.slice(1)
const short = (method: string) => (method === 'DELETE' ? 'DEL' : method)
const shortPath = (path: string) => path.replace(/^\/v1(?=\/)/u, '')
