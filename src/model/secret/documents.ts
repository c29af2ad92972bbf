/** Secrets' definitions as texts, in whichever notation. */
import { type OneDocument, oneDocument } from '../one-document.ts'
import { checkSecretDefinition } from './check.ts'
import { SecretDefinition } from './definition.ts'

const documents: OneDocument<SecretDefinition> = oneDocument(SecretDefinition, checkSecretDefinition)

export const parseSecretDefinition = documents.parse
export const formatSecretDefinition = documents.format
