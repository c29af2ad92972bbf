/** Filters as texts, in whichever notation. */
import { type OneDocument, oneDocument } from '../one-document.ts'
import { checkNwfilterDefinition } from './check.ts'
import { NwfilterDefinition } from './definition.ts'

const documents: OneDocument<NwfilterDefinition> = oneDocument(NwfilterDefinition, checkNwfilterDefinition)

export const parseNwfilterDefinition = documents.parse
export const formatNwfilterDefinition = documents.format
