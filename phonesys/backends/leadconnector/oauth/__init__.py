"""LeadConnector's OAuth: tokens of an agency or of one location, and the login."""

from phonesys.backends.leadconnector.oauth.agency import AgencyTokens
from phonesys.backends.leadconnector.oauth.authorization_code import exchange_code
from phonesys.backends.leadconnector.oauth.calls import authorization_url
from phonesys.backends.leadconnector.oauth.location import OAuthToken
from phonesys.backends.leadconnector.oauth.login import login

__all__ = ["AgencyTokens", "OAuthToken", "authorization_url", "exchange_code", "login"]
