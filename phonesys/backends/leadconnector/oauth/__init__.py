"""LeadConnector's OAuth: an agency's tokens, one location's token, and how to come by the first."""

from phonesys.backends.leadconnector.oauth.agency import AgencyTokens
from phonesys.backends.leadconnector.oauth.calls import authorization_url
from phonesys.backends.leadconnector.oauth.code import exchange_code
from phonesys.backends.leadconnector.oauth.login import login
from phonesys.backends.leadconnector.oauth.single import OAuthToken

__all__ = ["AgencyTokens", "OAuthToken", "authorization_url", "exchange_code", "login"]
