/**
 * The description language of every noun.
 *
 * One description of an element gives its TypeScript type ({@link Output}, {@link Input}), its parser with
 * errors that name the path, its JSON schema, its XML codec and its page in the reference. Nothing about a
 * field is written down twice.
 *
 * A field's `xml` says where libvirt's format keeps it, relative to the element of the object that owns it:
 * `'@type'` is an attribute, `'driver/@type'` an attribute of a child, `'name'` the text of a child, `'.'`
 * the element's own text, `'source#2/@host'` an attribute of the second child of that name. A list at `'.'` has as items
 * the children that the fields of an item name, in the order in which they stand. A field without `xml` exists only in JSON and YAML.
 */

/** What every field says about itself. */
export interface FieldOptions {
  /** Where libvirt's XML keeps it, relative to the owner's element; see the head of this file. */
  readonly xml?: string
  /** The field may be absent, and nothing stands in for it. */
  readonly optional?: true
  /** What an absent field means; filled in by parsing. */
  readonly default?: unknown
  /** The default is printed in XML only when something else makes its element. */
  readonly quiet?: true
  /** Changes nothing about the machine, so that no driver has to honour it: titles, notes. */
  readonly inert?: true
  /** A choice of names of which others may exist: one that is not known is `unsupported-config`. */
  readonly names?: true
  /** Filled in when it is absent (an identity, an address), so that its absence is no difference. */
  readonly generated?: true
}

/** The shape that all descriptions share; `Out` is what parsing gives, `In` what a person may write. */
export interface Schema<Out = unknown, In = Out> {
  readonly kind: string
  /** One noun phrase: what the field is. */
  readonly doc: string
  readonly options: FieldOptions
  /** Carries the types; never present at run time. */
  readonly types?: { readonly out: Out; readonly in: In }
}

/** The type of a parsed value. */
export type Output<S> = S extends Schema<infer Out, infer _In> ? Out : never
/** The type of a value as a person or program may write it: fields with a default may be left out. */
export type Input<S> = S extends Schema<infer _Out, infer In> ? In : never

/** Bounds of a text, in UTF-16 units. */
export interface StringOptions extends FieldOptions {
  readonly minLength?: number
  readonly maxLength?: number
  readonly pattern?: RegExp
  /** What the pattern means, for the error message: 'a name without slashes'. */
  readonly patternName?: string
  /** How other spellings become the one that is kept: lower case, and hyphens in a uuid without them. */
  readonly normalize?: 'uuid' | 'mac'
}
export interface StringSchema extends Schema<string> {
  readonly kind: 'string'
  readonly options: StringOptions
}

export interface IntegerOptions extends FieldOptions {
  readonly min?: number
  readonly max?: number
}
export interface IntegerSchema extends Schema<number> {
  readonly kind: 'integer' | 'number'
  readonly options: IntegerOptions
}

/**
 * A quantity of bytes, kept as a whole number of `unit`. The field's name ends in the unit (`memoryKiB`,
 * `sizeBytes`); JSON and YAML also accept the name without it and a text: `memory: 2GiB`. In XML the
 * element's `unit` attribute scales the number, and the unit is printed.
 */
export interface SizeSchema extends Schema<number> {
  readonly kind: 'size'
  readonly options: SizeOptions
}
export interface SizeOptions extends IntegerOptions {
  readonly unit: 'KiB' | 'bytes'
  /** In XML bytes are `B`, not `bytes`. */
  readonly shortUnit?: true
  /** In XML an attribute beside it, `unit`, has its unit. */
  readonly unitAttribute?: true
  /** XML has it in the largest unit that makes it a whole number. */
  readonly largestUnit?: true
}

/** How libvirt writes a boolean: `yes`/`no`, `on`/`off`, or an empty element that is there or not. */
export interface BooleanOptions extends FieldOptions {
  readonly as?: 'yes-no' | 'on-off' | 'presence'
}
export interface BooleanSchema extends Schema<boolean> {
  readonly kind: 'boolean'
  readonly options: BooleanOptions
}

export interface ChoiceSchema<V extends string = string> extends Schema<V> {
  readonly kind: 'choice'
  readonly values: readonly V[]
}

export interface ArraySchema<Out = unknown, In = unknown> extends Schema<Out[], In[]> {
  readonly kind: 'array'
  readonly item: Schema
  readonly options: ArrayOptions
}
export interface ArrayOptions extends FieldOptions {
  readonly maxItems?: number
  /** Fields that together tell the items apart when two lists are compared. */
  readonly key?: readonly string[]
}

/** Text keys to values of one kind. JSON and YAML only. */
export interface RecordSchema<Out = unknown, In = unknown>
  extends Schema<Record<string, Out>, Record<string, In>> {
  readonly kind: 'record'
  readonly value: Schema
}

/** One element kept as it was written, printed back unchanged: metadata, vendor extensions. */
export interface FragmentSchema extends Schema<string> {
  readonly kind: 'fragment'
}

/** Content of an XML element that its description does not have, kept and printed back. */
export interface UnknownContent {
  /** Where it stands below its owner: `driver/@queues`, `iotune`. */
  readonly path: string
  /** The element as it was written, or the attribute as `name='value'`. */
  readonly xml: string
}
/**
 * What the owner's XML has and its description has not. Entries stand in the order in which they are printed.
 */
export interface UnknownSchema extends Schema<UnknownContent[]> {
  readonly kind: 'unknown'
  readonly options: { readonly optional: true }
}

/** Any JSON value. */
export interface AnySchema extends Schema<unknown> {
  readonly kind: 'any'
}

export type Fields = Readonly<Record<string, Schema>>
export interface ObjectOptions extends FieldOptions {
  /** Being there changes nothing about the machine; only what is set in it does. */
  readonly silent?: true
  /**
   * Order of the children (and attributes, as `@name`) in libvirt's output where more can stand there than
   * is described, by element: `'.'` is the object's own, `driver` its child. Names not in a list come last.
   */
  readonly order?: Readonly<Record<string, readonly string[]>>
  /** XML that tells of a running machine (`@id`) and is read over, with the reason. */
  readonly runtime?: Readonly<Record<string, string>>
  /** Namespaces of the elements below it whose names have these prefixes; declared on each of them. */
  readonly namespaces?: Readonly<Record<string, string>>
  /** XML that is kept but changes nothing about the machine. */
  readonly inertXml?: Readonly<Record<string, InertXml>>
}
export interface InertXml {
  readonly reason: string
  /** Only when it is written like this. */
  readonly when?: RegExp
}
export interface ObjectSchema<Out = unknown, In = unknown> extends Schema<Out, In> {
  readonly options: ObjectOptions
  readonly kind: 'object'
  /** The noun; names the JSON schema component and the reference section. */
  readonly name: string
  readonly fields: Fields
}

type HasDefault = { readonly options: { readonly default: unknown } }
type IsOptional = { readonly options: { readonly optional: true } }
type Flat<T> = { [K in keyof T]: T[K] }
type OptionalKeys<F, M> = { [K in keyof F]: F[K] extends M ? K : never }[keyof F]
type OutputOf<F> = Flat<
  { [K in Exclude<keyof F, OptionalKeys<F, IsOptional>>]: Output<F[K]> } & {
    [K in OptionalKeys<F, IsOptional>]?: Output<F[K]>
  }
>
type InputOf<F> = Flat<
  { [K in Exclude<keyof F, OptionalKeys<F, IsOptional> | OptionalKeys<F, HasDefault>>]: Input<F[K]> } & {
    [K in OptionalKeys<F, IsOptional> | OptionalKeys<F, HasDefault>]?: Input<F[K]>
  }
>
type With<S, O> = Omit<S, 'options'> & { readonly options: O & FieldOptions }

/** A text. */
export function string<const O extends StringOptions>(doc: string, options?: O) {
  return { kind: 'string', doc, options: options ?? {} } as unknown as With<StringSchema, O>
}

/** A whole number. */
export function integer<const O extends IntegerOptions>(doc: string, options?: O) {
  return { kind: 'integer', doc, options: options ?? {} } as unknown as With<IntegerSchema, O>
}

/** Any finite number. */
export function number<const O extends IntegerOptions>(doc: string, options?: O) {
  return { kind: 'number', doc, options: options ?? {} } as unknown as With<IntegerSchema, O>
}

/** A quantity of bytes; see {@link SizeSchema}. */
export function size<const O extends SizeOptions>(doc: string, options: O) {
  return { kind: 'size', doc, options } as unknown as With<SizeSchema, O>
}

/** True or false. */
export function boolean<const O extends BooleanOptions>(doc: string, options?: O) {
  return { kind: 'boolean', doc, options: options ?? {} } as unknown as With<BooleanSchema, O>
}

/** One of a closed set of words. */
export function choice<const V extends string, const O extends FieldOptions>(
  doc: string,
  values: readonly V[],
  options?: O,
) {
  return { kind: 'choice', doc, values, options: options ?? {} } as unknown as With<ChoiceSchema<V>, O>
}

/** Any number of one kind; in XML the element or attribute of `xml` repeated. */
export function array<S extends Schema, const O extends ArrayOptions>(doc: string, item: S, options?: O) {
  return { kind: 'array', doc, item, options: options ?? {} } as unknown as With<
    ArraySchema<Output<S>, Input<S>>,
    O
  >
}

/** Text keys to values of one kind. */
export function record<S extends Schema, const O extends FieldOptions>(doc: string, value: S, options?: O) {
  return { kind: 'record', doc, value, options: options ?? {} } as unknown as With<
    RecordSchema<Output<S>, Input<S>>,
    O
  >
}

/** An element kept verbatim. */
export function fragment<const O extends FieldOptions>(doc: string, options?: O) {
  return { kind: 'fragment', doc, options: options ?? {} } as unknown as With<FragmentSchema, O>
}

/** Where an object keeps what its XML has and its description has not. */
export function unknown() {
  const doc = 'XML that visor does not know, kept as it was written'
  return { kind: 'unknown', doc, options: { optional: true } } as unknown as UnknownSchema
}

/** Any JSON value. */
export function any<const O extends FieldOptions>(doc: string, options?: O) {
  return { kind: 'any', doc, options: options ?? {} } as unknown as With<AnySchema, O>
}

/** A noun with fields. Fields are printed in XML in the order in which they are described. */
export function object<const F extends Fields, const O extends ObjectOptions>(
  name: string,
  doc: string,
  fields: F,
  options?: O,
) {
  return { kind: 'object', name, doc, fields, options: options ?? {} } as unknown as With<
    ObjectSchema<OutputOf<F>, InputOf<F>>,
    O
  > & { readonly fields: F }
}

/** The same noun as a field of another: with its own place in the XML, optional or with a default. */
export function field<S extends Schema, const O extends FieldOptions>(schema: S, options: O, doc?: string) {
  return { ...schema, doc: doc ?? schema.doc, options: { ...schema.options, ...options } } as unknown as Omit<
    S,
    'options'
  > & { readonly options: O & FieldOptions }
}
