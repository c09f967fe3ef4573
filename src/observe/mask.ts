const URL_PASSWORD = /(:\/\/[^\s"'`:@/]*:)[^\s"'`]*@/g;
const QUERY_PASSWORD = /([?&](?:password|sslpassword)=)[^&\s"'`]*/gi;

/**
 * Text for people's eyes: the password of every URL in it, before the @ or as a query parameter, becomes ***.
 * A URL's userinfo ends at the last @ of the word, so that a password which was not percent-encoded stays hidden too.
 */
export function maskSecrets(text: string): string {
  if (!text.includes('://') && !text.includes('password=')) return text;
  return text.replace(URL_PASSWORD, '$1***@').replace(QUERY_PASSWORD, '$1***');
}
