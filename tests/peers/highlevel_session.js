// A session of HighLevel's own Node SDK. Reads its options as JSON from the environment, prints what it got as JSON.
const { HighLevel } = require("@gohighlevel/api-client");

const options = JSON.parse(process.env.SESSION);
HighLevel.BASE_URL = options.baseUrl;

async function allNumbers(client, locationId) {
  const found = [];
  for (let page = 0; ; page += 1) {
    const { numbers } = await client.phoneSystem.activeNumbers(
      { locationId, page, pageSize: 10, skipNumberPool: false },
    );
    found.push(...numbers.map((number) => number.phoneNumber));
    if (numbers.length < 10) return found;
  }
}

async function statusOf(call) {
  try {
    await call;
    return 200;
  } catch (error) {
    return error.statusCode ?? error.response?.status ?? String(error);
  }
}

async function main() {
  const { clientId, clientSecret, companyId, here, missing } = options;
  const single = new HighLevel({ privateIntegrationToken: options.token, logLevel: "error" });
  const agency = new HighLevel({ clientId, clientSecret, agencyAccessToken: options.agencyToken, logLevel: "error" });
  const granted = await agency.oauth.getLocationAccessToken({ companyId, locationId: here });
  const exchanged = new HighLevel(
    { clientId, clientSecret, locationAccessToken: granted.access_token, logLevel: "error" },
  );
  const installed = await agency.oauth.getInstalledLocation({ companyId, appId: options.appId, limit: "100" });
  const pools = await single.phoneSystem.getNumberPoolList({ locationId: here });
  const offered = await single.phoneSystem.availableNumbers({ locationId: here, countryCode: "US" });
  return {
    numbers: await allNumbers(single, here),
    exchanged: await allNumbers(exchanged, here),
    locations: installed.locations.map((location) => location._id),
    pooled: pools.data.flatMap((pool) => pool.numbers.map((number) => number.phoneNumber)),
    offered: offered.numbers.length,
    missing: await statusOf(single.phoneSystem.activeNumbers({ locationId: missing })),
  };
}

main().then((result) => console.log(JSON.stringify(result)));
