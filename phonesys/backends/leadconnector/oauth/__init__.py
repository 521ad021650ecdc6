"""LeadConnector's OAuth: an agency's tokens, one location's token, and how to come by the first."""

from phonesys.backends.leadconnector.oauth.agency import AgencyTokens
from phonesys.backends.leadconnector.oauth.authorization_code import exchange_code
from phonesys.backends.leadconnector.oauth.calls import authorization_url
from phonesys.backends.leadconnector.oauth.location import OAuthToken
from phonesys.backends.leadconnector.oauth.login import login

__all__ = ["AgencyTokens", "OAuthToken", "authorization_url", "exchange_code", "login"]
